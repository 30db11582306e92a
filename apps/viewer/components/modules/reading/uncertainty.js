// Where the model was unsure: a glow over the picture, and the slices that hold most of it, one after another.

import { loadUncertainty } from "./opening.js";

const GLOW = [255, 140, 20];
const STRENGTH = 0.65;
const LEAST = 24;

export class Uncertainty {
  constructor(room) {
    this.room = room;
    this.reset();
  }

  reset() {
    this.values = null;
    this.isShown = false;
    this.ranked = new Map();
    this.at = new Map();
  }

  async load() {
    if (!this.room.study.has_uncertainty) {
      this.room.say("There is no map of probability beside this result, so nothing is known of its uncertainty.");
      return false;
    }
    this.values ??= await loadUncertainty(this.room);
    return true;
  }

  async toggle() {
    try {
      if (await this.load()) this.isShown = !this.isShown;
    } catch (error) {
      this.room.say(error.message);
    }
    this.room.retable();
  }

  // The next slice of the active plane in order of how much uncertainty it holds, at its least certain voxel.
  async next() {
    try {
      if (!(await this.load())) return;
    } catch (error) {
      this.room.say(error.message);
      return;
    }
    const { room } = this;
    const plane = room.active.planeName;
    if (!this.ranked.has(plane)) this.ranked.set(plane, rank(this.values, room.volume.grid, room.active.plane.depth));
    const slices = this.ranked.get(plane);
    if (slices.length === 0) {
      room.say("The model was sure of every voxel.");
      return;
    }
    const at = ((this.at.get(plane) ?? -1) + 1) % slices.length;
    this.at.set(plane, at);
    this.isShown = true;
    room.setCursor(slices[at].index);
    room.say(`Uncertain slice ${at + 1} of ${slices.length}`);
    room.retable();
  }

  // Lay the glow over the pixels of a picture; `values` are those of its slice.
  glow(words, values) {
    const bytes = new Uint8ClampedArray(words.buffer);
    for (let p = 0; p < values.length; p += 1) {
      if (values[p] < LEAST) continue;
      const share = (values[p] / 255) * STRENGTH;
      for (let channel = 0; channel < 3; channel += 1) bytes[4 * p + channel] += (GLOW[channel] - bytes[4 * p + channel]) * share;
    }
  }
}

// The slices along an axis that hold uncertainty, most first, each with its least certain voxel.
function rank(values, grid, depth) {
  const sums = new Float64Array(grid.shape[depth]);
  const most = new Uint8Array(grid.shape[depth]);
  const where = new Array(grid.shape[depth]);
  const [ni, nj] = grid.shape;
  for (let offset = 0; offset < values.length; offset += 1) {
    const value = values[offset];
    if (value < LEAST) continue;
    const index = [offset % ni, Math.floor(offset / ni) % nj, Math.floor(offset / grid.strides[2])];
    const slice = index[depth];
    sums[slice] += value;
    if (value > most[slice]) [most[slice], where[slice]] = [value, index];
  }
  return [...sums.keys()].filter((slice) => sums[slice] > 0).sort((a, b) => sums[b] - sums[a]).map((slice) => ({ slice, index: where[slice] }));
}
