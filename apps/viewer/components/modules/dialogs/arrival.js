// A scan on its way in: the server is asked how far it is until it is over.

const LOOK_MS = 300;

// What was taken in; `onStep` hears {stage, done, total}. The abort of `signal` stops it.
export async function arrival(server, id, onStep, signal) {
  const url = `/data/arrivals/${id}`;
  const stop = () => server.request(url, { method: "DELETE" }).catch(() => {});
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  for (;;) {
    const step = await server.json(url);
    if (step.taken !== null) return step.taken;
    onStep(step);
    await new Promise((resolve) => {
      setTimeout(resolve, LOOK_MS);
    });
  }
}

export function stepWords({ stage, done, total }) {
  if (total === 0) return "Looking at what arrived …";
  const words = { fetching: ["Fetched", "images"], sorting: ["Looked at", "files"], reading: ["Read", "images"] }[stage] ?? [stage, ""];
  return `${words[0]} ${done} of ${total} ${words[1]} …`;
}

export function takenWords({ scans }) {
  return scans.length === 1 ? "One scan was taken in." : `${scans.length} scans were taken in.`;
}
