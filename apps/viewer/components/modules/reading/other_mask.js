// Another mask of the same scan over this one: its outline dashed, or where the two differ in colours.

import { loadOtherMask } from "./opening.js";
import { differenceTables } from "../picture/paint.js";

export const DIFFERENCE = { here: [94, 201, 120], there: [226, 92, 196], label: [240, 200, 70] };

export class OtherMask {
  constructor(room) {
    this.room = room;
    this.reset();
  }

  reset() {
    this.id = null;
    this.labels = null;
    this.isDifference = false;
    this.version = 0;
  }

  get isShown() {
    return this.labels !== null;
  }

  // Lay a mask over the one that is shown; none where the id is empty.
  async choose(id) {
    const { room } = this;
    this.id = id || null;
    this.labels = null;
    this.version += 1;
    if (this.id !== null) {
      try {
        const labels = await loadOtherMask(room, this.id);
        if (this.id === id) this.labels = labels;
      } catch (error) {
        this.id = null;
        room.say(`The other mask could not be loaded: ${error.message}`);
      }
    }
    this.version += 1;
    room.retable();
  }

  toggle() {
    const first = this.room.study.others[0];
    if (this.id !== null) return this.choose("");
    if (first) return this.choose(first.id);
    this.room.say("There is no other mask of this scan: it was not corrected, and no other model segmented it.");
    return null;
  }

  toggleDifference() {
    this.isDifference = !this.isDifference;
    if (this.isDifference && this.id === null) this.toggle();
    this.version += 1;
    this.room.retable();
  }

  tables() {
    return differenceTables(this.room.opacity, DIFFERENCE);
  }

  // Dice of the two masks for each label that either holds, in the order of the labels.
  dice() {
    const { mask, study } = this.room;
    if (!this.isShown || mask === null) return [];
    const counts = new Map(study.labels.map((label) => [label.index, [0, 0]]));
    for (let n = 0; n < mask.length; n += 1) {
      const [here, there] = [mask[n], this.labels[n]];
      if (here === 0 && there === 0) continue;
      if (counts.has(here)) counts.get(here)[1] += 1;
      if (counts.has(there)) counts.get(there)[1] += 1;
      if (here === there) counts.get(here)[0] += 2;
    }
    return study.labels.map((label) => [label.name, ...counts.get(label.index)]).filter(([, , all]) => all > 0).map(([name, both, all]) => [name, both / all]);
  }
}
