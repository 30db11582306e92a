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
    this.forgotten = null;
    this.stored = null;
  }

  // The change that made the mask what it is, perhaps a stroke that is still drawn; null where it is as it was loaded.
  get latest() {
    return this.stroke?.offsets.length > 0 ? this.stroke : (this.done.at(-1) ?? this.forgotten);
  }

  // Whether the mask differs from what is stored.
  get isDirty() {
    return this.latest !== this.stored;
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
    this.done.push(kept);
    this.bytes += size(kept);
    while (this.bytes > MOST_UNDO_BYTES && this.done.length > 1) {
      this.forgotten = this.done.shift();
      this.bytes -= size(this.forgotten);
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

  // The mask as it was after that change is stored.
  saved(change) {
    this.stored = change;
  }
}

function size(change) {
  return change.offsets.byteLength + change.before.byteLength + change.after.byteLength;
}
