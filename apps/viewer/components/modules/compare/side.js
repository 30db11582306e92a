// One of two studies side by side: a plane of it, with its mask, in the terms that a pane asks of its room.

import { element } from "../dom.js";
import { colourTables, greyTable } from "../paint.js";
import { Pane } from "../pane.js";
import { listen } from "../pointer.js";
import { withUnit } from "../read_out.js";
import { loadMask, loadScan } from "../source.js";
import { CrosshairTool, PanTool, WindowTool } from "../tools.js";
import { Grid, PLANES, Volume } from "../volume.js";
import { written } from "../windows.js";

const IDLE = { mode: "none", thicknessMm: 0 };

export class Side {
  constructor(compare, words) {
    this.compare = compare;
    this.words = words;
    this.tools = { crosshair: new CrosshairTool(), window: new WindowTool(), pan: new PanTool() };
    this.tool = this.tools.crosshair;
    this.slab = IDLE;
    this.versions = { volume: 0, mask: 0, tables: 0 };
    this.hidden = new Set();
    this.opacity = 0.25;
    this.isSmooth = true;
    this.isMaskShown = true;
    this.hasOutline = true;
    this.isCrosshairShown = true;
    this.areCornersShown = true;
    this.mask = null;
    this.panes = Object.keys(PLANES).map((name) => new Pane(this, name));
    this.title = element("div", { class: "side-title" });
    this.host = element("section", { class: "compare-side", "aria-label": words }, this.title, ...this.panes.map((pane) => pane.host));
    this.panes.forEach(listen);
  }

  async open(study, server) {
    this.study = study;
    this.loading = new AbortController();
    const grid = new Grid(study.scan.shape, study.scan.spacing_mm, study.scan.affine, study.scan.inverse);
    this.volume = new Volume(grid, study.scan.slope, study.scan.intercept, study.scan.unit);
    this.colours = new Map(study.labels.map((label) => [label.index, label]));
    this.cursor = grid.shape.map((n) => Math.floor(n / 2));
    for (const pane of this.panes) pane.prepare(grid);
    this.title.textContent = `${this.words}: ${study.corner.slice(0, 3).join("  ·  ") || study.name}`;
    this.setTables(study.window);
    this.isOpen = true;
    const { signal } = this.loading;
    const scan = loadScan(study.base, server, this.volume, this.cursor[2], () => this.changed("volume"), signal);
    if (study.mask) {
      this.mask = (await loadMask(study.base, server, grid, study.mask.bytes_per_label, signal)).labels;
      this.changed("mask");
    }
    await scan;
  }

  get active() {
    return this.panes.find((pane) => pane.planeName === this.compare.plane);
  }

  setTables(window) {
    this.window = window;
    this.greys = greyTable(window, this.volume.slope, this.volume.intercept, false);
    this.tables = colourTables(this.study.labels, this.opacity, this.hidden);
    this.changed("tables");
  }

  // --- what panes and their pointer ask of a room ----------------------------------------------------------------------

  setCursor(index) {
    this.place(index);
    this.compare.moved(this);
  }

  // Go to a voxel without telling the other side.
  place(index) {
    this.cursor = this.volume.grid.clamp(index);
    this.redraw();
  }

  step(slices, pane = this.active) {
    const index = [...this.cursor];
    index[pane.plane.depth] += slices === Infinity || slices === -Infinity ? Math.sign(slices) * this.volume.grid.shape[pane.plane.depth] : slices;
    this.setCursor(index);
  }

  setWindow(window) {
    this.compare.setWindow(window);
  }

  setActive() {
    this.compare.setActive(this);
  }

  maximise() {}

  drawOver() {}

  readOut() {
    this.compare.readOut(this);
  }

  colourOf(label) {
    return this.colours.get(label)?.colour ?? [255, 255, 255];
  }

  cornerTexts(pane) {
    return {
      topLeft: [pane.planeName.toUpperCase(), `${pane.slice + 1} / ${pane.picture.slices}`],
      topRight: [],
      bottomLeft: [`W ${written(this.window.width, this.volume.unit)}  L ${written(this.window.centre, this.volume.unit)}`, withUnit(this.volume.value(this.cursor), this.volume.unit)],
    };
  }

  changed(what) {
    this.versions[what] += 1;
    this.redraw();
  }

  redraw() {
    if (!this.isOpen || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.drawNow();
    });
  }

  drawNow() {
    for (const pane of this.panes) pane.draw();
  }

  destroy() {
    this.loading?.abort();
    for (const pane of this.panes) pane.destroy();
  }
}
