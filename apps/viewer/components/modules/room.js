// The reading room: one study, its panes, and everything a reader can do with them. Parts call the room; the room redraws.

import { element, replaceChildren } from "./dom.js";
import { helpDialog } from "./help.js";
import { buildHeader, buildStatus } from "./frame.js";
import { press } from "./keys.js";
import { colourTables, greyTable } from "./paint.js";
import { Pane } from "./pane.js";
import { listen } from "./pointer.js";
import { SidePanel } from "./side_panel.js";
import { loadMask, loadScan, Refused } from "./source.js";
import { CrosshairTool, PanTool, WindowTool } from "./tools.js";
import { Grid, PLANES, Volume } from "./volume.js";
import { presets, written } from "./windows.js";

const CINE_MS = 80;

export class Room {
  constructor(host, page) {
    this.page = page;
    this.tools = { crosshair: new CrosshairTool(), window: new WindowTool(), pan: new PanTool() };
    this.tool = this.tools.crosshair;
    this.moreKeys = [];
    this.isOpen = false;
    this.isSmooth = true;
    this.isInverted = false;
    this.isMaskShown = true;
    this.hasOutline = true;
    this.isCrosshairShown = true;
    this.areCornersShown = true;
    this.opacity = 0.25;
    this.slab = { mode: "none", thicknessMm: 0 };
    this.pictureVersion = 0;
    this.maximised = null;
    this.presets = [];
    this.panes = Object.keys(PLANES).map((name) => new Pane(this, name));
    this.active = this.panes[0];
    this.side = new SidePanel(this);
    this.header = element("header", { class: "top" });
    this.status = element("footer", { class: "status" });
    this.grid = element("main", { class: "panes" }, ...this.panes.map((pane) => pane.host));
    this.message = element("div", { class: "message", role: "alert", hidden: true });
    this.host = element("div", { class: "room", tabindex: "-1" }, this.header, this.grid, this.side.host, this.status, this.message);
    this.host.room = this;
    host.append(this.host);
    this.panes.forEach(listen);
    this.onkey = (event) => {
      if (this.isOpen && !event.defaultPrevented && press(this, event, this.moreKeys)) event.preventDefault();
    };
    window.addEventListener("keydown", this.onkey);
  }

  // Take what the page says; a new study is opened, the same one only renews its token.
  update(data) {
    this.token = data.token;
    if (this.study?.id === data.study.id && this.study?.version === data.study.version) return;
    this.open(data.study);
  }

  async open(study) {
    this.close();
    this.study = study;
    this.hidden = new Set();
    this.mask = null;
    this.chosenFinding = null;
    this.loading = new AbortController();
    const grid = new Grid(study.scan.shape, study.scan.spacing_mm, study.scan.affine);
    this.volume = new Volume(grid, study.scan.slope, study.scan.intercept, study.scan.unit);
    this.presets = presets(study.scan.unit, study.window);
    this.window = { centre: study.window.centre, width: study.window.width };
    this.cursor = study.findings.length > 0 ? study.findings[0].index : grid.shape.map((n) => Math.floor(n / 2));
    this.colours = new Map(study.labels.map((label) => [label.index, label]));
    for (const pane of this.panes) pane.prepare(grid);
    buildHeader(this);
    buildStatus(this);
    this.side.open(study);
    this.isOpen = true;
    this.retable();
    this.setTool(this.tool.name);
    this.setActive(this.active);
    await this.load();
  }

  async load() {
    const base = this.study.base;
    const token = () => this.token;
    const { signal } = this.loading;
    this.setProgress(0);
    try {
      const scan = loadScan(base, token, this.volume, this.cursor[2], (share) => this.arrived(share), signal);
      const mask = this.study.mask ? loadMask(base, token, this.volume.grid, this.study.mask.bytes_per_label, signal) : null;
      if (mask !== null) {
        const { labels, sha256 } = await mask;
        this.mask = labels;
        this.maskSha256 = sha256;
        this.changed();
      }
      await scan;
      this.host.dataset.loaded = this.study.id;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) this.page.trigger("renew", Date.now());
      this.say(`The scan could not be loaded: ${error.message}`);
    }
  }

  arrived(share) {
    this.setProgress(share);
    this.changed();
    this.host.dataset.first = this.study.id;
  }

  setProgress(share) {
    this.bar.hidden = share >= 1;
    this.bar.value = share;
  }

  say(text) {
    this.message.hidden = text === "";
    this.message.textContent = text;
  }

  // --- where we are -------------------------------------------------------------------------------------------------

  setCursor(index) {
    this.cursor = this.volume.grid.clamp(index);
    this.chooseFindingHere();
    this.redraw();
    this.readOut();
  }

  step(slices, pane = this.active) {
    const index = [...this.cursor];
    const last = this.volume.grid.shape[pane.plane.depth] - 1;
    index[pane.plane.depth] = Math.min(last, Math.max(0, index[pane.plane.depth] + slices));
    this.setCursor(index);
  }

  nudge(key, voxels) {
    const at = this.volume.grid.toPicture(this.active.planeName, this.cursor);
    at.column += { ArrowLeft: -voxels, ArrowRight: voxels }[key] ?? 0;
    at.row += { ArrowUp: -voxels, ArrowDown: voxels }[key] ?? 0;
    this.setCursor(this.volume.grid.fromPicture(this.active.planeName, at, this.active.slice));
  }

  goToFinding(n) {
    const finding = this.study.findings[n];
    if (finding === undefined) return;
    this.cursor = [...finding.index];
    this.chosenFinding = n;
    this.side.choose(n);
    this.redraw();
    this.readOut();
  }

  nextFinding(step) {
    const count = this.study.findings.length;
    if (count === 0) return;
    const from = this.chosenFinding ?? (step > 0 ? -1 : 0);
    this.goToFinding((from + step + count) % count);
  }

  // The finding under the cross-hair: of those with its label, the one whose middle is nearest.
  chooseFindingHere() {
    const label = this.mask === null ? 0 : this.mask[this.volume.grid.offset(this.cursor)];
    let best = null;
    let nearest = Infinity;
    const here = this.volume.grid.world(this.cursor);
    this.study.findings.forEach((finding, n) => {
      if (finding.label_index !== label) return;
      const apart = Math.hypot(...finding.centroid_mm.map((value, axis) => value - here[axis]));
      if (apart < nearest) [best, nearest] = [n, apart];
    });
    if (best === this.chosenFinding) return;
    this.chosenFinding = best;
    this.side.choose(best);
  }

  // --- how it looks -------------------------------------------------------------------------------------------------

  setWindow(window) {
    this.window = window;
    this.retable();
  }

  applyPreset(key) {
    const preset = this.presets.find((one) => one.key === key);
    if (preset) this.setWindow({ centre: preset.centre, width: preset.width });
  }

  setOpacity(opacity) {
    this.opacity = Math.min(1, Math.max(0, Math.round(opacity * 20) / 20));
    this.retable();
  }

  toggle(name) {
    this[name] = !this[name];
    this.retable();
  }

  toggleLabel(index) {
    if (!this.hidden.delete(index)) this.hidden.add(index);
    this.retable();
  }

  toggleTheme() {
    this.host.classList.toggle("light");
  }

  colourOf(label) {
    return this.colours.get(label)?.colour ?? [255, 255, 255];
  }

  retable() {
    const { slope, intercept } = this.volume;
    this.greys = greyTable(this.window, slope, intercept, this.isInverted);
    this.tables = colourTables(this.study.labels, this.opacity, this.hidden);
    this.side.update();
    this.updateTools();
    this.changed();
  }

  // --- panes --------------------------------------------------------------------------------------------------------

  setActive(pane) {
    this.active = pane;
    for (const one of this.panes) one.host.classList.toggle("active", one === pane);
  }

  nextPane() {
    const shown = this.panes.filter((pane) => pane.host.offsetParent !== null);
    const next = shown[(shown.indexOf(this.active) + 1) % shown.length];
    this.setActive(next);
    next.host.focus({ preventScroll: true });
    if (this.maximised !== null) this.maximise(next.planeName);
  }

  maximise(planeName) {
    this.maximised = planeName;
    if (planeName === null) delete this.grid.dataset.maximised;
    else this.grid.dataset.maximised = planeName;
    this.redraw();
  }

  zoom(factor) {
    this.active.view.zoomAt(factor, this.active.width / 2, this.active.height / 2, this.active.width, this.active.height);
    this.redraw();
  }

  resetViews() {
    for (const pane of this.panes) pane.view.reset();
    this.redraw();
  }

  setTool(name) {
    this.tool = this.tools[name];
    this.grid.dataset.tool = name;
    this.updateTools();
    this.redraw();
  }

  updateTools() {
    for (const [name, made] of this.toolButtons ?? []) made.setAttribute("aria-pressed", String(this.tool.name === name));
    for (const [name, made] of this.switchButtons ?? []) made.setAttribute("aria-pressed", String(this[name]));
  }

  space() {
    if (this.tool.space) this.tool.space(this.active);
    else this.toggleCine();
  }

  toggleCine() {
    if (this.cine) {
      clearInterval(this.cine);
      this.cine = null;
      return;
    }
    this.cine = setInterval(() => {
      const last = this.volume.grid.shape[this.active.plane.depth] - 1;
      this.step(this.active.slice === last ? -Infinity : 1);
    }, CINE_MS);
  }

  // --- drawing ------------------------------------------------------------------------------------------------------

  changed() {
    this.pictureVersion += 1;
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
    const started = performance.now();
    for (const pane of this.panes) pane.draw();
    this.drawMs = performance.now() - started;
    this.readOut();
  }

  // What tools draw over a picture.
  drawOver(context, pane) {
    for (const tool of Object.values(this.tools)) tool.drawOver?.(context, pane);
  }

  cornerTexts(pane) {
    const { study, volume } = this;
    const isMain = pane.planeName === (this.maximised ?? "axial");
    const percent = Math.round(pane.view.zoom * 100);
    const slab = this.slab.mode === "none" ? [] : [`${this.slab.mode.toUpperCase()} ${this.slab.thicknessMm} mm`];
    return {
      topLeft: [pane.planeName.toUpperCase(), `${pane.slice + 1} / ${pane.picture.slices}`, ...slab],
      topRight: isMain ? study.corner : [],
      bottomLeft: [`W ${written(this.window.width, volume.unit)}  L ${written(this.window.centre, volume.unit)}`, `${percent} %`],
    };
  }

  // Position, value and label under the pointer, or else under the cross-hair.
  readOut() {
    if (!this.readOutText) return;
    let index = this.cursor;
    if (this.hover) {
      const under = this.hover.pane.voxelAt(this.hover.x, this.hover.y).map(Math.round);
      if (this.volume.grid.contains(under)) index = under;
    }
    const [x, y, z] = this.volume.grid.world(index);
    const side = (value, plus, minus) => `${value >= 0 ? plus : minus} ${Math.abs(value).toFixed(1)}`;
    const label = this.mask === null ? null : this.colours.get(this.mask[this.volume.grid.offset(index)]);
    const unit = this.volume.unit === "arbitrary" ? "" : ` ${this.volume.unit}`;
    this.readOutText.where.textContent = `${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm`;
    this.readOutText.voxel.textContent = `voxel ${this.study.toOwn(index).join(", ")}`;
    this.readOutText.value.textContent = `${written(this.volume.value(index), this.volume.unit)}${unit}`;
    this.readOutText.label.textContent = label ? label.name : "–";
  }

  // --- coming and going ---------------------------------------------------------------------------------------------

  toggleHelp() {
    if (this.help?.open) {
      this.help.close();
      return;
    }
    this.help = helpDialog(this.moreKeys, () => this.help.remove());
    this.host.append(this.help);
    this.help.showModal();
  }

  escape() {
    this.say("");
    if (this.cine) this.toggleCine();
    else if (this.maximised !== null) this.maximise(null);
    else this.setTool("crosshair");
  }

  leave() {
    this.page.trigger("leave", Date.now());
  }

  close() {
    this.loading?.abort();
    if (this.cine) this.toggleCine();
    this.isOpen = false;
    this.hover = null;
    this.say("");
    delete this.host.dataset.loaded;
    delete this.host.dataset.first;
  }

  destroy() {
    this.close();
    window.removeEventListener("keydown", this.onkey);
    for (const pane of this.panes) pane.destroy();
    replaceChildren(this.host);
    this.host.remove();
  }
}
