// The reading room: one study, its panes, and everything a reader can do with them. Parts call the room; the room redraws.

import { Cine } from "./cine.js";
import { exportDialog } from "../dialogs/export.js";
import { runDialog } from "../dialogs/run.js";
import { element, replaceChildren } from "../page/dom.js";
import { helpDialog } from "./help.js";
import { buildHeader, buildStatus } from "./frame.js";
import { press } from "./keys.js";
import { Pane3d } from "../picture/pane3d.js";
import { Viewing } from "../picture/viewing.js";
import { SidePanel } from "./side_panel.js";
import { MarksPanel } from "../measuring/marks_panel.js";
import { MaskEdit } from "../correcting/mask_edit.js";
import { load, loadStoredMask } from "./opening.js";
import { OtherMask } from "./other_mask.js";
import { cornerTexts, readOut } from "./read_out.js";
import { Server } from "../page/server.js";
import { Drafts } from "../correcting/drafts.js";
import { Review } from "../correcting/review.js";
import { ReadingsPanel } from "../correcting/readings.js";
import { REVIEW_KEYS, ReviewPanel } from "../correcting/review_panel.js";
import { makeTools } from "./toolbox.js";
import { Uncertainty } from "./uncertainty.js";

const IDLE_MS = 400;
const SLABS = ["none", "mip", "minip", "mean"];

export class Room extends Viewing {
  constructor(host, page) {
    super();
    this.page = page;
    this.server = new Server(() => page.trigger("renew", Date.now()));
    this.edit = new MaskEdit(this);
    this.review = new Review(this);
    this.drafts = new Drafts(this);
    this.panel = new ReviewPanel(this);
    this.readings = new ReadingsPanel(this);
    this.marks = new MarksPanel(this);
    this.pane3d = new Pane3d(this);
    this.cine = new Cine(this);
    this.other = new OtherMask(this);
    this.uncertainty = new Uncertainty(this);
    this.brush = { label: 1, radiusMm: 5, is3d: false, isLimited: false, limits: [0, 0], isOnBackground: false, isOneLabel: false };
    this.tools = makeTools(this);
    this.tool = this.tools.crosshair;
    this.maximised = null;
    this.active = this.panes[0];
    this.side = new SidePanel(this);
    this.header = element("header", { class: "top" });
    this.status = element("footer", { class: "status" });
    this.grid = element("main", { class: "panes" }, ...this.panes.map((pane) => pane.host), this.pane3d.host);
    this.message = element("div", { class: "message", role: "alert", hidden: true });
    this.host = element("div", { class: "room", tabindex: "-1" }, this.header, this.grid, this.side.host, this.status, this.message);
    this.host.room = this;
    this.host.classList.toggle("light", localStorage.getItem("medseg-theme") === "light");
    host.append(this.host);
    this.onkey = (event) => {
      // Under the list of keys the room rests.
      if (this.help?.open && !["?", "Escape"].includes(event.key)) return;
      if (this.isOpen && !event.defaultPrevented && press(this, event, this.moreKeys)) event.preventDefault();
    };
    window.addEventListener("keydown", this.onkey);
    this.onunload = (event) => {
      if (this.isOpen && this.edit.isDirty && !this.review.isKept) event.preventDefault();
    };
    window.addEventListener("beforeunload", this.onunload);
  }

  // Take what the page says: a new study is opened; of the one that is open only what was recorded since is taken.
  update(data) {
    const isOther = this.study?.id !== data.study.id || this.study?.files !== data.study.files;
    if (isOther) this.close(); // what is drawn in the study before is kept by its permit, which is the one at hand
    this.server.take(data.permits);
    this.mayCorrect = data.may_correct;
    if (isOther) {
      this.page.arrived();
      this.open(data.study);
      return;
    }
    const isMaskNew = data.study.mask !== null && data.study.mask.sha256 !== this.maskSha256;
    const chosen = this.study.findings[this.chosenFinding];
    const isIt = (finding) => finding.label === chosen?.label && finding.instance === chosen.instance;
    this.study = data.study;
    this.chosenFinding = this.study.findings.some(isIt) ? this.study.findings.findIndex(isIt) : null;
    this.showStudy();
    if (isMaskNew && this.mask !== null && !this.edit.isDirty) loadStoredMask(this);
  }

  async open(study) {
    this.close();
    this.takeStudy(study);
    this.other.reset();
    this.uncertainty.reset();
    this.maskSha256 = study.mask?.sha256 ?? null;
    this.chosenFinding = null;
    this.loading = new AbortController();
    this.edit.reset();
    this.review.reset();
    this.drafts.reset();
    this.brush.label = (study.labels.find((label) => label.is_counted) ?? study.labels[0])?.index ?? 0;
    this.brush.limits = [study.window.centre - study.window.width / 2, study.window.centre + study.window.width / 2];
    this.chosenColours = new Map();
    this.marks.open(study.marks, study.others_marks, this.volume.grid);
    this.toggle3d(false);
    this.moreKeys = study.mask ? REVIEW_KEYS : [];
    this.isOpen = true;
    this.showStudy();
    this.goToFinding(0);
    this.setActive(this.active);
    await load(this);
  }

  // Everything around the pictures, from what is known of the study.
  showStudy() {
    for (const label of this.study.labels) label.colour = this.chosenColours.get(label.index) ?? label.colour;
    buildHeader(this);
    buildStatus(this);
    this.side.open(this.study);
    this.marks.update();
    this.retable();
    this.setTool(this.tool.name);
    this.setProgress(this.progress ?? 1);
  }

  // Whether this is a second reading, in which nothing but reading is done; says so.
  isBlind() {
    if (this.study.is_second_reading) this.say("This is a second reading: finish it, then go on from the study itself.");
    return this.study.is_second_reading;
  }

  mayEdit() {
    if (!this.mayCorrect) {
      this.say("Your role allows reading and export, not correction.");
      return false;
    }
    if (this.study.is_thinned) {
      this.say("This scan is shown with fewer pixels than it has, so its mask cannot be corrected here.");
      return false;
    }
    if (this.mask !== null && this.host.dataset.loaded) return true;
    this.say(this.study.mask ? "The mask is still loading." : "There is no mask to correct: segment the scan first.");
    return false;
  }

  // The mask has changed under the reader's hand.
  edited() {
    this.review.edited();
    this.changed("mask");
  }

  setProgress(share) {
    this.progress = share;
    this.bar.hidden = share >= 1;
    this.bar.value = share;
  }

  say(text) {
    this.message.hidden = text === "";
    this.message.textContent = text;
  }

  // --- where we are -------------------------------------------------------------------------------------------------

  setCursor(index) {
    super.setCursor(index);
    this.chooseFindingHere();
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
    super.setCursor(finding.index);
    this.choose(n);
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
    this.choose(best);
  }

  choose(n) {
    if (n === this.chosenFinding) return;
    this.chosenFinding = n;
    this.side.choose(n);
  }

  // --- how it looks -------------------------------------------------------------------------------------------------

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
    const isLight = this.host.classList.toggle("light");
    localStorage.setItem("medseg-theme", isLight ? "light" : "dark");
  }

  // Show a label in another colour, as long as the study is open.
  setColour(index, colour) {
    this.chosenColours.set(index, colour);
    this.study.labels.find((one) => one.index === index).colour = colour;
    this.retable();
  }

  retable() {
    super.retable();
    this.areSwitchesStale = true;
  }

  // --- panes --------------------------------------------------------------------------------------------------------

  setActive(pane) {
    if (pane !== this.active) this.redraw();
    this.active = pane;
    for (const one of this.panes) one.host.classList.toggle("active", one === pane);
  }

  nextPane() {
    const next = this.panes[(this.panes.indexOf(this.active) + 1) % this.panes.length];
    this.setActive(next);
    if (this.maximised !== null) this.maximise(next.planeName);
    next.host.focus({ preventScroll: true });
  }

  maximise(planeName) {
    this.maximised = planeName;
    if (planeName === null) delete this.grid.dataset.maximised;
    else this.grid.dataset.maximised = planeName;
    this.redraw();
  }

  zoom(factor) {
    this.active.view.zoomAt(factor, this.active.width / 2, this.active.height / 2, this.active.width, this.active.height);
    this.redraw([this.active]);
  }

  resetViews() {
    for (const pane of this.panes) pane.view.reset();
    this.redraw();
  }

  setTool(name) {
    this.tool = this.tools[name];
    this.grid.dataset.tool = name;
    this.areSwitchesStale = true;
    this.redraw();
  }

  setSlab(slab) {
    this.slab = { ...this.slab, ...slab };
    if (this.slab.mode !== "none" && this.slab.thicknessMm === 0) this.slab.thicknessMm = 10;
    this.areSwitchesStale = true;
    this.redraw();
  }

  nextSlab() {
    this.setSlab({ mode: SLABS[(SLABS.indexOf(this.slab.mode) + 1) % SLABS.length] });
  }

  space() {
    if (this.tool.space) this.tool.space(this.active);
    else this.cine.toggle();
  }

  toggle3d(isShown = !this.pane3d.isShown) {
    this.grid.classList.toggle("with-3d", isShown);
    this.pane3d.show(isShown && this.isOpen);
    this.redraw();
  }

  // --- drawing ------------------------------------------------------------------------------------------------------

  drawNow(panes = this.panes) {
    super.drawNow(panes);
    this.draw3dSoon();
    if (this.areSwitchesStale) this.showSwitches();
    readOut(this);
  }

  // The third dimension follows when the hand rests.
  draw3dSoon() {
    const of3d = `${Object.values(this.versions)}|${this.opacity}`;
    if (this.pane3d.isShown && of3d !== this.drawn3d) {
      clearTimeout(this.timer3d);
      this.timer3d = setTimeout(() => this.pane3d.show(true), IDLE_MS);
    }
    this.drawn3d = of3d;
  }

  // Buttons, boxes and sliders in line with the room.
  showSwitches() {
    this.areSwitchesStale = false;
    this.side.update();
    for (const [name, made] of this.toolButtons) made.setAttribute("aria-pressed", String(this.tool.name === name));
    for (const [name, made] of this.switchButtons) made.setAttribute("aria-pressed", String(this[name]));
  }

  drawOver(context, pane) {
    for (const tool of Object.values(this.tools)) tool.drawOver?.(context, pane);
  }

  cornerTexts(pane) {
    return cornerTexts(this, pane);
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
    if (this.help?.open) this.help.close();
    else if (this.cine.isPlaying) this.cine.stop();
    else if (this.maximised !== null) this.maximise(null);
    else this.setTool("crosshair");
  }

  async segment() {
    if (!this.mayCorrect || this.isBlind()) return;
    try {
      await runDialog(this.host, this.server, this.study, () => this.say("The job is queued: see it in the worklist. Its result will be a study of its own."));
    } catch (error) {
      this.say(error.message);
    }
  }

  async export() {
    if (this.isBlind()) return;
    try {
      await exportDialog(this.host, this.server, this.study, this.edit.isDirty, this.mayCorrect);
    } catch (error) {
      this.say(error.message);
    }
  }

  // Go back to the worklist, or on to the next study, once what is drawn is kept: its permit ends with the study.
  async leave(to = "leave") {
    await this.review.keepDraft();
    if (!this.edit.isDirty || this.review.isKept) this.page.trigger(to, Date.now());
  }

  close() {
    this.loading?.abort();
    if (this.isOpen && this.edit.isDirty) this.review.keepLeft();
    this.cine.stop();
    this.isOpen = false;
    this.hover = null;
    this.say("");
    delete this.host.dataset.loaded;
    delete this.host.dataset.first;
  }

  destroy() {
    this.close();
    super.destroy();
    window.removeEventListener("keydown", this.onkey);
    window.removeEventListener("beforeunload", this.onunload);
    this.pane3d.destroy();
    replaceChildren(this.host);
    this.host.remove();
  }
}
