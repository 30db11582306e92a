// Changes of the mask that can be undone without loss: every change knows the labels before and after it.

const MOST_UNDO_BYTES = 256 * 1024 * 1024;

export class MaskEdit {
  constructor(room) {
    this.room = room;
    this.reset();
  }

  reset() {
    this.done = [];
    this.undone = [];
    this.bytes = 0;
    this.stroke = null;
    this.savedAt = 0;
    this.isForgetful = false;
  }

  // Whether the mask differs from what is stored.
  get isDirty() {
    return this.done.length !== this.savedAt || this.isForgetful;
  }

  begin() {
    this.stroke = { offsets: [], before: [], after: [] };
  }

  // Change one voxel within a stroke.
  set(offset, label) {
    const { mask } = this.room;
    if (mask[offset] === label) return;
    this.stroke.offsets.push(offset);
    this.stroke.before.push(mask[offset]);
    this.stroke.after.push(label);
    mask[offset] = label;
  }

  end() {
    const stroke = this.stroke;
    this.stroke = null;
    if (stroke === null || stroke.offsets.length === 0) return 0;
    const kept = {
      offsets: Uint32Array.from(stroke.offsets),
      before: Uint16Array.from(stroke.before),
      after: Uint16Array.from(stroke.after),
    };
    for (const one of this.undone) this.bytes -= size(one);
    this.undone = [];
    if (this.savedAt > this.done.length) this.isForgetful = true;
    this.done.push(kept);
    this.bytes += size(kept);
    while (this.bytes > MOST_UNDO_BYTES && this.done.length > 1) {
      this.bytes -= size(this.done.shift());
      this.savedAt -= 1;
      if (this.savedAt < 0) this.isForgetful = true;
    }
    this.room.edited();
    return kept.offsets.length;
  }

  // All changes at once: offsets and the one label they get.
  fill(offsets, label) {
    this.begin();
    for (const offset of offsets) this.set(offset, label);
    return this.end();
  }

  undo() {
    const last = this.done.pop();
    if (last === undefined) return;
    for (let n = last.offsets.length - 1; n >= 0; n -= 1) this.room.mask[last.offsets[n]] = last.before[n];
    this.undone.push(last);
    this.room.edited();
  }

  redo() {
    const next = this.undone.pop();
    if (next === undefined) return;
    for (let n = 0; n < next.offsets.length; n += 1) this.room.mask[next.offsets[n]] = next.after[n];
    this.done.push(next);
    this.room.edited();
  }

  saved() {
    this.savedAt = this.done.length;
    this.isForgetful = false;
  }
}

function size(change) {
  return change.offsets.byteLength + change.before.byteLength + change.after.byteLength;
}
