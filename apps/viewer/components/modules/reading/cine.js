// Slices played one after another in the active pane, round and round.

const STEP_MS = 80;

export class Cine {
  constructor(room) {
    this.room = room;
    this.timer = null;
  }

  get isPlaying() {
    return this.timer !== null;
  }

  toggle() {
    if (this.isPlaying) this.stop();
    else this.timer = setInterval(() => this.next(), STEP_MS);
  }

  next() {
    const { room } = this;
    const last = room.volume.grid.shape[room.active.plane.depth] - 1;
    room.step(room.active.slice === last ? -Infinity : 1);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }
}
