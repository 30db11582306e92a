// Voxels come over the server's own routes, with a short-lived signed permit in a header: never through Streamlit.

const PART_BYTES = 4 * 1024 * 1024;
const PARTS_AT_ONCE = 3;

// Fill the volume, the slices around `start` first; `onPart` is told the share loaded after each part.
export async function loadScan(base, server, volume, start, onPart, signal) {
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
      const response = await server.request(`${base}/scan?from=${from}&to=${to}`, { signal });
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
export async function loadMask(base, server, grid, bytesPerLabel, signal, query = "", path = "mask") {
  const response = await server.request(`${base}/${path}${query}`, { signal });
  const buffer = await response.arrayBuffer();
  const labels = bytesPerLabel === 1 ? new Uint8Array(buffer) : new Uint16Array(buffer);
  if (labels.length !== grid.count) throw new Error("the mask arrived incomplete; reload the page");
  return { labels, sha256: response.headers.get("X-Mask-Sha256") };
}
