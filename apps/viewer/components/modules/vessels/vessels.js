// The vessels of a scan: a branch unrolled over its diameters, sections across it, and the list of blockages.

import { button, element, replaceChildren } from "../page/dom.js";
import { mounter, Page } from "../office/page.js";
import { dragged } from "../picture/windows.js";
import { Along } from "./along.js";
import { asSheet, fetchPicture } from "./picture.js";

const STEP_MM = 0.5;
const TURN_DEG = 15;
const SECTIONS = [["before", "Before"], ["tightest", "Tightest"], ["behind", "Behind"], ["here", "Here"]];
const BESIDE_MM = 2;

export class Vessels extends Page {
  constructor(parent) {
    super(parent, "vessels");
    this.angle = 0;
    this.isCurved = false;
    this.alongMm = 0;
    this.chosen = null;
    this.sections = new Map();
    this.along = new Along(this);
    this.choice = element("select", { "aria-label": "Branch", onchange: () => this.openBranch(Number(this.choice.value)) });
    this.turn = element("input", { type: "range", min: "0", max: "345", value: "0", step: String(TURN_DEG), "aria-label": "Angle about the vessel", oninput: () => this.setAngle(Number(this.turn.value)) });
    this.bend = button("Curved", "Show the vessel with its bends, or straightened", () => this.setCurved(!this.isCurved), { "aria-pressed": "false" });
    this.read = element("span", { class: "quiet", role: "status", "data-read": "along" });
    this.keys = button("Keys", "← → along, n next blockage, [ ] turn, c curved, a next branch, q worklist", () => this.say("← →: along the vessel; Shift: ten times as far. n, Shift + n: next and previous blockage. [ ]: turn. c: curved or straightened. a: next branch. Right drag on a picture: window. q: worklist."));
    replaceChildren(this.tools, this.choice, element("label", { class: "inline" }, "Turn ", this.turn), this.bend, this.read, this.keys);
    this.list = element("aside", { class: "changes", "aria-label": "Blockages" });
    this.cuts = element("div", { class: "sections" });
    this.main.classList.add("vessels");
    replaceChildren(this.main, element("div", { class: "vessel-pictures" }, this.along.canvas, this.cuts), this.list);
    for (const host of [this.along.canvas, this.cuts]) this.dragWindow(host);
  }

  take({ vessels }) {
    if (this.vessels?.id === vessels.id) return;
    this.vessels = vessels;
    this.window = vessels.window;
    replaceChildren(this.choice, ...vessels.branches.map((one) => element("option", { value: String(one.index), text: branchName(one) })));
    this.drawList();
    if (vessels.blockages.length > 0) this.openBlockage(vessels.blockages[0]);
    else if (vessels.branches.length > 0) this.openBranch(vessels.branches[0].index);
    else this.host.dataset.loaded = vessels.id;
  }

  drawList() {
    const { vessels } = this;
    const titles = ["No.", "Lumen lost", "95 %", ...(vessels.is_artery ? ["CAD-RADS"] : []), "Diameter (mm)"];
    const head = element("tr", {}, ...titles.map((text, n) => element("th", { scope: "col", class: n === 0 ? null : "number", text })));
    const rows = vessels.blockages.map((one) =>
      element(
        "tr",
        { "data-blockage": String(one.number), class: one === this.chosen ? "chosen" : null },
        element("td", {}, element("button", { type: "button", class: "jump", text: `${one.number}${one.confidence === "review" ? " ?" : ""}`, title: one.confidence === "review" ? `For review: ${one.reasons.join(", ")}` : "Go there", onclick: () => this.openBlockage(one) })),
        element("td", { class: "number", text: `${one.diameter_percent.toFixed(0)} %` }),
        element("td", { class: "number", text: `${one.interval[0].toFixed(0)}–${one.interval[1].toFixed(0)}` }),
        vessels.is_artery ? element("td", { class: "number", text: one.cad_rads ?? "–" }) : null,
        element("td", { class: "number", text: `${one.minimal_diameter_mm.toFixed(1)} of ${one.reference_diameter_mm.toFixed(1)}` }),
      ),
    );
    replaceChildren(
      this.list,
      element("h2", { text: vessels.is_artery ? `Blockages, CAD-RADS ${vessels.cad_rads}` : "Blockages of veins" }),
      vessels.not_assessable ? element("p", { class: "problem", text: `Not assessable: ${vessels.not_assessable}` }) : null,
      rows.length > 0 ? element("table", { class: "worklist" }, element("thead", {}, head), element("tbody", {}, ...rows)) : null,
      rows.length === 0 && !vessels.not_assessable ? element("p", { class: "quiet", text: "No blockage was found." }) : null,
      this.chosen ? element("dl", { class: "facts" }, ...facts(this.chosen, vessels.is_artery).flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })])) : null,
      ...vessels.warnings.map((text) => element("p", { class: "problem", text })),
    );
  }

  blockagesHere() {
    return this.vessels.blockages.filter((one) => one.branch === this.branch?.index);
  }

  async openBlockage(blockage) {
    this.chosen = blockage;
    this.drawList();
    this.alongMm = blockage.position_mm;
    await this.openBranch(blockage.branch, blockage);
  }

  async openBranch(index, blockage = null) {
    this.branch = this.vessels.branches.find((one) => one.index === index);
    this.choice.value = String(index);
    if (blockage === null) {
      this.chosen = this.blockagesHere()[0] ?? null;
      this.alongMm = this.chosen?.position_mm ?? 0;
      this.drawList();
    }
    await Promise.all([this.loadAlong(), this.loadSections()]);
  }

  async loadAlong() {
    this.alongAsked?.abort();
    this.alongAsked = new AbortController();
    const { signal } = this.alongAsked;
    try {
      this.along.show(await fetchPicture(this.server, `${this.vessels.base}/${this.isCurved ? "curved" : "straightened"}?branch=${this.branch.index}&angle=${this.angle}`, signal));
      this.host.dataset.loaded = this.vessels.id;
      this.host.dataset.branch = String(this.branch.index);
      this.host.dataset.along = this.isCurved ? "curved" : "straightened";
    } catch (error) {
      if (!signal.aborted) this.say(error.message);
    }
  }

  async loadSections() {
    const places = { here: this.alongMm };
    if (this.chosen) Object.assign(places, { before: this.chosen.start_mm - BESIDE_MM, tightest: this.chosen.position_mm, behind: this.chosen.stop_mm + BESIDE_MM });
    await Promise.all(Object.keys(places).map((name) => this.loadSection(name, places[name])));
  }

  async loadSection(name, alongMm) {
    const asked = `${this.vessels.base}/section?branch=${this.branch.index}&along=${alongMm}`;
    this[`asked_${name}`] = asked;
    const picture = await this.attemptQuietly(() => fetchPicture(this.server, asked));
    if (picture === null || this[`asked_${name}`] !== asked) return;
    this.sections.set(name, { picture, alongMm });
    this.drawSections();
  }

  async attemptQuietly(run) {
    try {
      return await run();
    } catch (error) {
      this.say(error.message);
      return null;
    }
  }

  drawSections() {
    const shown = SECTIONS.filter(([name]) => this.sections.has(name) && (name === "here" || this.chosen));
    replaceChildren(
      this.cuts,
      ...shown.map(([name, words]) => {
        const { picture, alongMm } = this.sections.get(name);
        const canvas = element("canvas", { width: picture.columns, height: picture.rows, role: "img", "aria-label": `Section ${words.toLowerCase()}` });
        canvas.getContext("2d").drawImage(asSheet(picture, this.window, false), 0, 0);
        return element("figure", { "data-section": name }, canvas, element("figcaption", { text: `${words}, ${Math.max(0, alongMm).toFixed(1)} mm` }));
      }),
    );
  }

  goTo(alongMm) {
    this.alongMm = Math.min(this.branch.along_mm.at(-1), Math.max(0, alongMm));
    const nearest = this.branch.along_mm.reduce((best, mm, n) => (Math.abs(mm - this.alongMm) < Math.abs(this.branch.along_mm[best] - this.alongMm) ? n : best), 0);
    this.read.textContent = `${this.alongMm.toFixed(1)} mm: diameter ${this.branch.diameters_mm[nearest].toFixed(2)} mm`;
    this.along.draw();
    this.loadSection("here", this.alongMm);
  }

  setAngle(angle) {
    this.angle = (angle + 360) % 360;
    this.turn.value = String(this.angle);
    this.loadAlong();
  }

  setCurved(isCurved) {
    this.isCurved = isCurved;
    this.bend.setAttribute("aria-pressed", String(isCurved));
    this.loadAlong();
  }

  dragWindow(host) {
    let start = null;
    host.addEventListener("contextmenu", (event) => event.preventDefault());
    host.addEventListener("pointerdown", (event) => {
      if (event.button !== 2) return;
      start = { x: event.clientX, y: event.clientY, window: this.window };
      host.setPointerCapture(event.pointerId);
    });
    host.addEventListener("pointermove", (event) => {
      if (start === null) return;
      this.window = dragged(this.window, start.window, event.clientX - start.x, event.clientY - start.y, this.vessels.unit);
      this.along.draw();
      this.drawSections();
    });
    host.addEventListener("pointerup", () => {
      start = null;
    });
  }

  nextBlockage(step) {
    const { blockages } = this.vessels;
    if (blockages.length === 0) return;
    const at = blockages.indexOf(this.chosen);
    this.openBlockage(blockages[(at + step + blockages.length) % blockages.length]);
  }

  nextBranch() {
    const { branches } = this.vessels;
    this.openBranch(branches[(branches.indexOf(this.branch) + 1) % branches.length].index);
  }

  press(event) {
    const target = event.composedPath()[0];
    if (["SELECT", "INPUT"].includes(target.tagName) || !this.branch) return;
    const far = event.shiftKey ? 10 : 1;
    const run = {
      ArrowRight: () => this.goTo(this.alongMm + STEP_MM * far),
      ArrowLeft: () => this.goTo(this.alongMm - STEP_MM * far),
      n: () => this.nextBlockage(1),
      N: () => this.nextBlockage(-1),
      "[": () => this.setAngle(this.angle - TURN_DEG),
      "]": () => this.setAngle(this.angle + TURN_DEG),
      c: () => this.setCurved(!this.isCurved),
      a: () => this.nextBranch(),
      q: () => this.trigger("go", "worklist"),
    }[event.key];
    if (run === undefined) return;
    run();
    event.preventDefault();
  }

  destroy() {
    this.along.destroy();
    super.destroy();
  }
}

function branchName(one) {
  const found = one.blockages > 0 ? `, ${one.blockages} ${one.blockages === 1 ? "blockage" : "blockages"}` : "";
  return `Branch ${one.segment ?? one.index}: ${one.length_mm.toFixed(0)} mm, mean diameter ${one.mean_diameter_mm.toFixed(1)} mm${one.not_assessable ? " (not assessable)" : found}`;
}

function facts(one, isArtery) {
  return [
    ["Kind", `${one.kind}${one.is_calcified ? ", calcified" : ""}`],
    ["Lost", `${one.diameter_percent.toFixed(0)} % of the diameter, ${one.area_percent.toFixed(0)} % (${one.area_interval.map((end) => end.toFixed(0)).join("–")}) of the area`],
    ["Length", `${one.length_mm.toFixed(1)} mm${one.gap_mm > 0 ? `, gap ${one.gap_mm.toFixed(1)} mm` : ""}`],
    ["Branch", `${one.branch_name}, ${one.position_mm.toFixed(1)} mm from its start`],
    ...(isArtery ? [["NASCET", one.nascet ?? "–"]] : []),
    ["Confidence", one.confidence === "review" ? `look twice: ${one.reasons.join(", ")}` : "confident"],
  ];
}

export const mount = mounter(Vessels);
