// One plane of the study on a canvas: the picture, and over it outlines, cross-hair, letters and scale bar.

import { element } from "../page/dom.js";
import { drawFurniture } from "./furniture.js";
import { difference, outlines, paint } from "./paint.js";
import { sliceSlider } from "./slice_slider.js";
import { ViewTransform } from "./view_transform.js";
import { cut, cutSlab, PLANES } from "./volume.js";

// Drawn by the processor: as quick as a graphics card for pictures of this size, and many times quicker than a card that
// is only imitated, as on virtual desktops.
const BY_PROCESSOR = { willReadFrequently: true };

// Pixels of the screen to one of the picture below which single ones would be left out.
const SHRUNK = 0.6;

export class Pane {
  constructor(room, planeName) {
    this.room = room;
    this.planeName = planeName;
    this.plane = PLANES[planeName];
    this.view = new ViewTransform();
    this.canvas = element("canvas", { class: "picture" });
    this.host = element("div", { class: `pane pane-${planeName}`, tabindex: "0", role: "application", "data-plane": planeName });
    this.slider = sliceSlider(this);
    this.host.append(this.canvas, this.slider.host);
    this.rendered = {};
    this.drawnOn = 0;
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.host);
  }

  get slice() {
    return this.room.cursor[this.plane.depth];
  }

  // Make room for pictures of this grid; called once the grid is known.
  prepare(grid) {
    this.grid = grid;
    this.picture = grid.picture(this.planeName);
    const pixels = this.picture.rows * this.picture.columns;
    this.stored = new Int16Array(pixels);
    this.buffer = new Int16Array(pixels);
    this.labels = null;
    this.image = new ImageData(this.picture.columns, this.picture.rows);
    this.words = new Uint32Array(this.image.data.buffer);
    this.sheet = new OffscreenCanvas(this.picture.columns, this.picture.rows);
    this.base = new OffscreenCanvas(1, 1);
    this.rendered = {};
    this.baseOf = null;
    this.otherEdgesOf = null;
  }

  // A pane that is not shown has no size, and is not drawn.
  resized() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.max(1, Math.round(this.width * ratio));
    this.canvas.height = Math.max(1, Math.round(this.height * ratio));
    this.ratio = ratio;
    this.room.redraw([this]);
  }

  // Cut and colour the current slice into `image`; what nothing has changed in is not done again.
  renderPicture() {
    const { room } = this;
    const mask = room.isMaskShown ? room.mask : null;
    const cutOf = `${this.slice}|${room.versions.volume}|${room.slab.mode}|${room.slab.thicknessMm}`;
    const maskOf = mask === null ? "none" : `${this.slice}|${room.versions.mask}|${this.drawnOn}`;
    const edgesOf = `${maskOf}|${room.hasOutline}|${[...room.hidden]}`;
    const over = `${room.other?.version}|${room.uncertainty?.isShown}`;
    const paintedOf = `${cutOf}|${maskOf}|${room.versions.tables}|${over}`;
    if (paintedOf === this.rendered.painted && edgesOf === this.rendered.edges) return;
    if (cutOf !== this.rendered.cut) cutSlab(this.grid, room.volume.data, this.planeName, this.slice, room.slab, this.stored, this.buffer);
    if (maskOf !== this.rendered.mask && mask !== null) {
      if (this.labels?.BYTES_PER_ELEMENT !== mask.BYTES_PER_ELEMENT) this.labels = new mask.constructor(this.stored.length);
      cut(this.grid, mask, this.planeName, this.slice, this.labels);
    }
    if (edgesOf !== this.rendered.edges) {
      const { rows, columns } = this.picture;
      this.edges = mask !== null && room.hasOutline ? outlines(this.labels, rows, columns, room.hidden) : new Map();
    }
    if (paintedOf !== this.rendered.painted) {
      this.paintPicture(mask);
      this.sheet.getContext("2d", BY_PROCESSOR).putImageData(this.image, 0, 0);
    }
    this.rendered = { cut: cutOf, mask: maskOf, edges: edgesOf, painted: paintedOf };
  }

  paintPicture(mask) {
    const { room } = this;
    const { other, uncertainty } = room;
    if (mask !== null && other?.isShown && other.isDifference) {
      const there = cut(this.grid, other.labels, this.planeName, this.slice, new other.labels.constructor(this.stored.length));
      paint(this.words, this.stored, difference(this.labels, there, new Uint8Array(this.stored.length)), room.greys, other.tables());
    } else {
      paint(this.words, this.stored, mask === null ? null : this.labels, room.greys, room.tables);
    }
    if (uncertainty?.isShown) uncertainty.glow(this.words, cut(this.grid, uncertainty.values, this.planeName, this.slice, new Uint8Array(this.stored.length)));
  }

  draw() {
    if (!this.grid || !this.width) return;
    this.view.fit(this.picture, this.width, this.height);
    this.renderPicture();
    this.renderBase();
    const context = this.canvas.getContext("2d", BY_PROCESSOR);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.base, 0, 0);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.room.drawOver(context, this);
    drawFurniture(context, this);
    this.slider.show();
  }

  // The picture as large as it is shown, with the outlines; what stands over it moves more often.
  renderBase() {
    const { columns, rows } = this.picture;
    const { left, top, columnPixels, rowPixels } = this.view;
    const { isSmooth, other } = this.room;
    const { painted, edges } = this.rendered;
    const baseOf = `${painted}|${edges}|${left}|${top}|${columnPixels}|${this.canvas.width}|${this.canvas.height}|${isSmooth}|${other?.version}`;
    if (baseOf === this.baseOf) return;
    this.baseOf = baseOf;
    if (this.base.width !== this.canvas.width || this.base.height !== this.canvas.height) this.base = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    const context = this.base.getContext("2d", BY_PROCESSOR);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.width, this.height);
    context.imageSmoothingEnabled = isSmooth;
    context.imageSmoothingQuality = columnPixels * this.ratio < SHRUNK ? "medium" : "low";
    context.drawImage(this.sheet, left, top, columns * columnPixels, rows * rowPixels);
    this.strokeEdges(context, this.edges, (label) => this.room.colourOf(label));
    this.drawOtherOutlines(context);
  }

  // Where the other mask has its borders, white and dashed.
  drawOtherOutlines(context) {
    const { other, hidden } = this.room;
    if (!other?.isShown) return;
    const of = `${this.slice}|${other.version}|${[...hidden]}`;
    if (this.otherEdgesOf !== of) {
      const labels = cut(this.grid, other.labels, this.planeName, this.slice, new other.labels.constructor(this.stored.length));
      this.otherEdges = outlines(labels, this.picture.rows, this.picture.columns, hidden);
      this.otherEdgesOf = of;
    }
    context.setLineDash([5, 4]);
    this.strokeEdges(context, this.otherEdges, () => [255, 255, 255]);
    context.setLineDash([]);
  }

  strokeEdges(context, edgesByLabel, colourOf) {
    const { left, top, columnPixels, rowPixels } = this.view;
    context.lineWidth = 1.25;
    context.lineCap = "square";
    for (const [label, edges] of edgesByLabel) {
      const [r, g, b] = colourOf(label);
      context.strokeStyle = `rgb(${r} ${g} ${b})`;
      context.beginPath();
      for (let n = 0; n < edges.length; n += 4) {
        context.moveTo(left + edges[n] * columnPixels, top + edges[n + 1] * rowPixels);
        context.lineTo(left + edges[n + 2] * columnPixels, top + edges[n + 3] * rowPixels);
      }
      context.stroke();
    }
  }

  // The voxel under a screen position within the pane, on the slice that is shown; may lie outside the grid.
  voxelAt(x, y) {
    const { row, column } = this.view.toPicture(x, y);
    return this.grid.fromPicture(this.planeName, { row, column }, this.slice);
  }

  // Where a voxel's centre is on the screen.
  screenOf(index) {
    const { row, column } = this.grid.toPicture(this.planeName, index);
    return this.view.toScreen(row + 0.5, column + 0.5);
  }

  destroy() {
    this.observer.disconnect();
  }
}
