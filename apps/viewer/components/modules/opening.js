// A study on its way in: voxels, mask, and the draft that a reader left.

import { loadMask, loadScan } from "./source.js";

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
    if (study.mask) await room.review.takeUpDraft();
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
  room.changed("mask");
  room.panel.update();
}

// The model's own mask, to lay over a corrected one.
export async function loadModelMask(room) {
  const { study } = room;
  return (await loadMask(study.base, room.server, room.volume.grid, study.mask.bytes_per_label, room.loading.signal, "?of=model")).labels;
}
