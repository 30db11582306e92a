// Drawing a measurement: each press adds a point, and each release that ends a drag adds another.

import { KINDS, valuesOf } from "./marks.js";

const DRAG_PIXELS = 4;
const COLOUR = "#f2e55c";
const FONT = "12px system-ui, 'DejaVu Sans', sans-serif";

export class MeasureTool {
  constructor(room, kind, key, icon) {
    Object.assign(this, { room, kind, key, icon, name: kind, words: KINDS[kind].words, follows: true });
    this.points = [];
  }

  down(pane, point) {
    if (this.pane !== pane || this.slice !== pane.slice) this.points = [];
    this.pane = pane;
    this.slice = pane.slice;
    this.start = point;
    this.add(pane, point);
  }

  move(pane) {
    this.room.redraw([pane]);
  }

  up(pane, point) {
    if (this.start && this.points.length > 0 && Math.hypot(point.x - this.start.x, point.y - this.start.y) > DRAG_PIXELS) this.add(pane, point);
    this.start = null;
  }

  // Without a mouse: a point at the cross-hair.
  space(pane) {
    if (this.pane !== pane || this.slice !== pane.slice) this.points = [];
    this.pane = pane;
    this.slice = pane.slice;
    this.take(pane, [...this.room.cursor]);
  }

  add(pane, point) {
    this.take(pane, pane.voxelAt(point.x, point.y));
  }

  take(pane, voxel) {
    this.points.push(voxel);
    if (this.points.length < KINDS[this.kind].points) {
      this.room.redraw();
      return;
    }
    const mark = { kind: this.kind, plane: pane.planeName, depth: pane.plane.depth, points: this.points };
    this.points = [];
    this.room.marks.add(mark);
  }

  // The finished marks of this kind on the slice that is shown, and the one that is being drawn.
  drawOver(context, pane) {
    const { room } = this;
    for (const mark of room.marks.shown) {
      if (mark.kind === this.kind && mark.plane === pane.planeName && Math.round(mark.points[0][mark.depth]) === pane.slice) drawMark(context, pane, mark.kind, mark.points, valuesOf(mark, room.volume));
    }
    if (room.tool !== this || this.points.length === 0 || this.pane !== pane || this.slice !== pane.slice) return;
    const hover = room.hover?.pane === pane ? [pane.voxelAt(room.hover.x, room.hover.y)] : [];
    drawMark(context, pane, this.kind, [...this.points, ...hover], []);
  }
}

function drawMark(context, pane, kind, points, texts) {
  const at = points.map((point) => pane.screenOf(point));
  context.save();
  context.strokeStyle = COLOUR;
  context.fillStyle = COLOUR;
  context.lineWidth = 1.5;
  context.shadowColor = "rgb(0 0 0 / 0.9)";
  context.shadowBlur = 3;
  context.beginPath();
  if (kind === "roi" && at.length > 1) {
    context.ellipse((at[0].x + at[1].x) / 2, (at[0].y + at[1].y) / 2, Math.abs(at[0].x - at[1].x) / 2, Math.abs(at[0].y - at[1].y) / 2, 0, 0, Math.PI * 2);
  } else {
    const breaks = kind === "diameters" ? 2 : at.length;
    at.forEach(({ x, y }, n) => (n % breaks === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  }
  context.stroke();
  for (const { x, y } of at) context.fillRect(x - 2, y - 2, 4, 4);
  context.font = FONT;
  context.textBaseline = "middle";
  const beside = at.reduce((right, one) => (one.x > right.x ? one : right), at[0]);
  texts.forEach((text, n) => context.fillText(text, beside.x + 8, beside.y + n * 15));
  context.restore();
}
