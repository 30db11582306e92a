// One of two studies side by side: a plane of it, with its mask.

import { element, replaceChildren } from "../page/dom.js";
import { loadMask, loadScan } from "../picture/source.js";
import { CrosshairTool, PanTool, WindowTool } from "../picture/tools.js";
import { Viewing } from "../picture/viewing.js";
import { written } from "../picture/windows.js";
import { withUnit } from "../reading/read_out.js";

export class Side extends Viewing {
  constructor(compare, words) {
    super();
    this.compare = compare;
    this.words = words;
    this.tools = { crosshair: new CrosshairTool(), window: new WindowTool(), pan: new PanTool() };
    this.tool = this.tools.crosshair;
    this.title = element("div", { class: "side-title" });
    this.notes = element("ul", { class: "warnings", role: "alert", hidden: "" });
    this.host = element("section", { class: "compare-side", "aria-label": words }, this.title, this.notes, ...this.panes.map((pane) => pane.host));
  }

  async open(study, server) {
    this.loading = new AbortController();
    this.takeStudy(study);
    this.title.textContent = `${this.words}: ${study.corner.slice(0, 3).join("  ·  ") || study.name}`;
    replaceChildren(this.notes, ...study.warnings.map((text) => element("li", { text })));
    this.notes.hidden = study.warnings.length === 0;
    this.retable();
    this.isOpen = true;
    const { signal } = this.loading;
    const scan = loadScan(study.base, server, this.volume, this.cursor[2], () => this.changed("volume"), signal);
    if (study.mask) {
      this.mask = (await loadMask(study.base, server, this.volume.grid, study.mask.bytes_per_label, signal)).labels;
      this.changed("mask");
    }
    await scan;
  }

  get active() {
    return this.panes.find((pane) => pane.planeName === this.compare.plane);
  }

  setCursor(index) {
    this.place(index);
    this.compare.moved(this);
  }

  // Go to a voxel without telling the other side.
  place(index) {
    super.setCursor(index);
  }

  // Both sides are seen in one window.
  setWindow(window) {
    this.compare.setWindow(window);
  }

  takeWindow(window) {
    super.setWindow(window);
  }

  setActive() {
    this.compare.setActive(this);
  }

  maximise() {}

  cornerTexts(pane) {
    return {
      topLeft: [pane.planeName.toUpperCase(), `${pane.slice + 1} / ${pane.picture.slices}`],
      topRight: [],
      bottomLeft: [`W ${written(this.window.width, this.volume.unit)}  L ${written(this.window.centre, this.volume.unit)}`, withUnit(this.volume.value(this.cursor), this.volume.unit)],
    };
  }

  destroy() {
    this.loading?.abort();
    super.destroy();
  }
}
