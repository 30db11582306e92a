// Voxels come over the server's own routes, with a short-lived signed token in a header: never through Streamlit.

const PART_BYTES = 4 * 1024 * 1024;
const PARTS_AT_ONCE = 3;

export class Refused extends Error {}

async function get(url, token, signal) {
  const response = await fetch(url, { headers: { Authorization: `Bearer ${token()}` }, signal, cache: "no-store" });
  if (response.status === 403) throw new Refused(await sentence(response));
  if (!response.ok) throw new Error(await sentence(response));
  return response;
}

export async function sentence(response) {
  const text = await response.text();
  return text.length > 0 && text.length < 2000 ? text : `the server answered ${response.status}`;
}

// Fill the volume, the slices around `start` first; `onPart` is told the share loaded after each part.
export async function loadScan(base, token, volume, start, onPart, signal) {
  const planes = volume.grid.shape[2];
  const planeVoxels = volume.grid.strides[2];
  const perPart = Math.max(1, Math.floor(PART_BYTES / (planeVoxels * 2)));
  const parts = [];
  for (let from = 0; from < planes; from += perPart) parts.push([from, Math.min(planes, from + perPart)]);
  parts.sort((a, b) => Math.abs((a[0] + a[1]) / 2 - start) - Math.abs((b[0] + b[1]) / 2 - start));
  let loaded = 0;
  let next = 0;
  const worker = async () => {
    while (next < parts.length) {
      const [from, to] = parts[next];
      next += 1;
      const response = await get(`${base}/scan?from=${from}&to=${to}`, token, signal);
      const part = new Int16Array(await response.arrayBuffer());
      if (part.length !== (to - from) * planeVoxels) throw new Error(`slices ${from} to ${to - 1} arrived incomplete; reload the page`);
      volume.data.set(part, from * planeVoxels);
      loaded += to - from;
      onPart(loaded / planes);
    }
  };
  await Promise.all(Array.from({ length: PARTS_AT_ONCE }, worker));
}

// The mask as labels in display order, with the hash of what is stored.
export async function loadMask(base, token, grid, bytesPerLabel, signal, query = "") {
  const response = await get(`${base}/mask${query}`, token, signal);
  const buffer = await response.arrayBuffer();
  const labels = bytesPerLabel === 1 ? new Uint8Array(buffer) : new Uint16Array(buffer);
  if (labels.length !== grid.count) throw new Error("the mask arrived incomplete; reload the page");
  return { labels, sha256: response.headers.get("X-Mask-Sha256") };
}
