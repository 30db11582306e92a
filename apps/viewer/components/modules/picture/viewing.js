// What every room with pictures shares: one study's grid and grey tables, a cross-hair, and panes that are drawn again,
// once a frame and only where something has changed.

import { colourTables, greyTable } from "./paint.js";
import { Pane } from "./pane.js";
import { listen } from "./pointer.js";
import { Grid, PLANES, Volume } from "./volume.js";
import { presets } from "./windows.js";

export class Viewing {
  constructor() {
    this.isOpen = false;
    this.isSmooth = true;
    this.isInverted = false;
    this.isMaskShown = true;
    this.hasOutline = true;
    this.isCrosshairShown = true;
    this.areCornersShown = true;
    this.opacity = 0.25;
    this.hidden = new Set();
    this.mask = null;
    this.slab = { mode: "none", thicknessMm: 0 };
    this.versions = { volume: 0, mask: 0, tables: 0 };
    this.stale = new Set();
    this.panes = Object.keys(PLANES).map((name) => new Pane(this, name));
    this.panes.forEach(listen);
  }

  // Make room for a study; its voxels are still to come.
  takeStudy(study) {
    const { shape, spacing_mm: spacingMm, affine, inverse, slope, intercept, unit } = study.scan;
    const grid = new Grid(shape, spacingMm, affine, inverse);
    this.study = study;
    this.mask = null;
    this.hidden = new Set();
    this.volume = new Volume(grid, slope, intercept, unit);
    this.presets = presets(unit, study.window);
    this.window = { centre: study.window.centre, width: study.window.width };
    this.cursor = grid.shape.map((n) => Math.floor(n / 2));
    for (const pane of this.panes) pane.prepare(grid);
  }

  // --- where we are -------------------------------------------------------------------------------------------------

  setCursor(index) {
    this.cursor = this.volume.grid.clamp(index);
    this.redraw();
  }

  // Some slices up in a pane; beyond the last one stays at it.
  step(slices, pane = this.active) {
    const index = [...this.cursor];
    const { depth } = pane.plane;
    index[depth] = Math.min(this.volume.grid.shape[depth] - 1, Math.max(0, index[depth] + slices));
    this.setCursor(index);
  }

  // --- how it looks -------------------------------------------------------------------------------------------------

  setWindow(window) {
    this.window = window;
    this.retable();
  }

  applyPreset(key) {
    const preset = this.presets.find((one) => one.key === key);
    if (preset) this.setWindow({ centre: preset.centre, width: preset.width });
    return preset !== undefined;
  }

  colourOf(label) {
    return this.labels.get(label)?.colour ?? [255, 255, 255];
  }

  // The lookup tables from stored values and labels to pixels, anew.
  retable() {
    const { slope, intercept } = this.volume;
    const greysOf = `${this.window.centre}|${this.window.width}|${slope}|${intercept}|${this.isInverted}`;
    if (greysOf !== this.greysOf) this.greys = greyTable(this.window, slope, intercept, this.isInverted);
    this.greysOf = greysOf;
    this.labels = new Map(this.study.labels.map((label) => [label.index, label]));
    this.tables = colourTables(this.study.labels, this.opacity, this.hidden);
    this.changed("tables");
  }

  // --- drawing ------------------------------------------------------------------------------------------------------

  // Voxels, labels or lookup tables have changed, and with them the pictures.
  changed(what) {
    this.versions[what] += 1;
    this.redraw();
  }

  // Labels have changed within a box of voxels {first, last}: only panes that cut it show another picture.
  changedWithin({ first, last }) {
    const cutting = this.panes.filter((pane) => pane.slice >= first[pane.plane.depth] && pane.slice <= last[pane.plane.depth]);
    for (const pane of cutting) pane.drawnOn += 1;
    this.redraw(cutting);
  }

  // Look at some panes again at the next frame.
  redraw(panes = this.panes) {
    if (!this.isOpen) return;
    for (const pane of panes) this.stale.add(pane);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.isOpen) this.drawNow([...this.stale]);
    });
  }

  drawNow(panes = this.panes) {
    for (const pane of panes) {
      this.stale.delete(pane);
      pane.draw();
    }
  }

  // What tools draw over a picture.
  drawOver() {}

  destroy() {
    for (const pane of this.panes) pane.destroy();
  }
}
