// A study on its way in: voxels, mask, and the draft that a reader left.

import { loadMask, loadScan } from "../picture/source.js";

export const DRAFT = "draft:";

export async function load(room) {
  const { signal } = room.loading;
  const { study } = room;
  room.setProgress(0);
  const arrived = (share) => {
    room.setProgress(share);
    room.changed("volume");
    room.host.dataset.first = study.id;
  };
  try {
    const scan = loadScan(study.base, room.server, room.volume, room.cursor[2], arrived, signal);
    if (study.mask) await loadStoredMask(room);
    await scan;
    if (study.mask && room.mayCorrect) await room.review.takeUpDraft();
    if (signal.aborted) return;
    room.host.dataset.loaded = study.id;
  } catch (error) {
    if (!signal.aborted) room.say(`The study could not be loaded: ${error.message}`);
  }
}

// The mask as the server has it; what was drawn and not saved is forgotten.
export async function loadStoredMask(room) {
  const { signal } = room.loading;
  const { study } = room;
  const { labels, sha256 } = await loadMask(study.base, room.server, room.volume.grid, study.mask.bytes_per_label, signal);
  room.mask = labels;
  room.maskSha256 = sha256;
  room.edit.reset();
  room.drafts.isBehind = false;
  room.drafts.update();
  room.changed("mask");
  room.panel.update();
}

// Another mask of the same scan, to lay over this one: the model's own ("model"), another result's, or with DRAFT before
// the hash of the mask it was drawn over, a draft of the reader's.
export async function loadOtherMask(room, id) {
  const { study } = room;
  const isDraft = id.startsWith(DRAFT);
  const [path, query] = isDraft ? ["draft", `?over=${id.slice(DRAFT.length)}`] : ["mask", `?of=${id}`];
  return (await loadMask(study.base, room.server, room.volume.grid, study.mask.bytes_per_label, room.loading.signal, query, path)).labels;
}

// How unsure the model was of each voxel, 0 to 255.
export async function loadUncertainty(room) {
  const response = await room.server.request(`${room.study.base}/uncertainty`, { signal: room.loading.signal });
  const values = new Uint8Array(await response.arrayBuffer());
  if (values.length !== room.volume.grid.count) throw new Error("the uncertainty arrived incomplete; reload the page");
  return values;
}
