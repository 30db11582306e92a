// A study beside a prior one: one plane of each, scrolled together, and what became of each lesion.

import { button, element, replaceChildren } from "../page/dom.js";
import { mounter, Page } from "../office/page.js";
import { PLANES } from "../picture/volume.js";
import { Side } from "./side.js";
import { changeTable } from "./changes.js";

export class Compare extends Page {
  constructor(parent) {
    super(parent, "compare");
    this.plane = "axial";
    this.isLinked = true;
    this.shiftMm = [0, 0, 0];
    this.prior = new Side(this, "Prior");
    this.current = new Side(this, "Current");
    this.activeSide = this.current;
    this.planes = element("select", { "aria-label": "Plane", onchange: (event) => this.setPlane(event.target.value) });
    for (const name of Object.keys(PLANES)) this.planes.append(element("option", { value: name, text: name }));
    this.link = button("Linked", "Scroll both together (k); unlink, scroll one, and link again to set them against each other", () => this.setLinked(!this.isLinked), { "data-action": "link" });
    this.masks = button("Mask", "Masks on and off (m)", () => this.toggleMasks(), { "aria-pressed": "true" });
    this.where = element("span", { class: "quiet", role: "status" });
    replaceChildren(this.tools, this.planes, this.link, this.masks, this.where);
    this.table = element("aside", { class: "changes", "aria-label": "What became of each lesion" });
    this.main.classList.add("compare");
    replaceChildren(this.main, this.prior.host, this.current.host, this.table);
    this.setPlane("axial");
    this.setLinked(true);
  }

  take({ prior, current }) {
    if (this.shown === `${prior.id} ${prior.files} ${current.id} ${current.files}`) return;
    this.shown = `${prior.id} ${prior.files} ${current.id} ${current.files}`;
    this.attempt(async () => {
      const opened = [this.prior.open(prior, this.server), this.current.open(current, this.server)];
      this.shiftMm = startingShift(this.prior, this.current);
      this.moved(this.current);
      await Promise.all(opened);
      this.host.dataset.loaded = current.id;
    });
    this.lookAtChanges(prior, current);
  }

  async lookAtChanges(prior, current) {
    replaceChildren(this.table, element("h2", { text: "Changes" }), element("p", { class: "quiet", text: "Laying the prior onto the current scan …" }));
    try {
      const found = await this.server.json(`${current.base}/changes?prior=${prior.id}`);
      this.alignBy(found.changes);
      replaceChildren(this.table, ...changeTable(found, (change) => this.goTo(change)));
    } catch (error) {
      replaceChildren(this.table, element("h2", { text: "Changes" }), element("p", { class: "problem", text: error.message }));
    }
    this.host.dataset.compared = current.id;
  }

  findingOf(side, label, instance) {
    return side.study.findings.find((one) => one.label === label && one.instance === instance);
  }

  // How far apart the matched lesions lie, on the median: the two scans are scrolled by that.
  alignBy(changes) {
    const apart = changes.filter((change) => change.kind === "matched").map((change) => {
      const [before, now] = [this.findingOf(this.prior, change.label, change.prior[0]), this.findingOf(this.current, change.label, change.current[0])];
      return before && now ? before.centroid_mm.map((mm, axis) => mm - now.centroid_mm[axis]) : null;
    }).filter((one) => one !== null);
    if (apart.length === 0 || !this.isLinked) return;
    this.shiftMm = [0, 1, 2].map((axis) => apart.map((one) => one[axis]).sort((a, b) => a - b)[apart.length >> 1]);
    this.moved(this.activeSide);
  }

  goTo(change) {
    const places = [[this.prior, change.prior], [this.current, change.current]].map(([side, numbers]) => [side, this.findingOf(side, change.label, numbers[0])]);
    const found = places.filter(([, finding]) => finding !== undefined);
    for (const [side, finding] of found) side.place(finding.index);
    if (found.length === 1) this.moved(found[0][0]);
  }

  // One side has moved: the other goes to the same place in the patient.
  moved(side) {
    const other = side === this.prior ? this.current : this.prior;
    if (!this.isLinked || !other.volume || !side.volume) return;
    const sign = side === this.current ? 1 : -1;
    const world = side.volume.grid.world(side.cursor).map((mm, axis) => mm + sign * this.shiftMm[axis]);
    other.place(other.volume.grid.fromWorld(world));
    this.readOut(side);
  }

  setLinked(isLinked) {
    this.isLinked = isLinked;
    this.link.setAttribute("aria-pressed", String(isLinked));
    if (!isLinked || !this.prior.volume) return;
    const [before, now] = [this.prior, this.current].map((side) => side.volume.grid.world(side.cursor));
    this.shiftMm = before.map((mm, axis) => mm - now[axis]);
  }

  setPlane(name) {
    this.plane = name;
    this.planes.value = name;
    this.main.dataset.plane = name;
    for (const side of [this.prior, this.current]) side.redraw();
  }

  setWindow(window) {
    for (const side of [this.prior, this.current]) side.takeWindow(window);
  }

  setActive(side) {
    this.activeSide = side;
    for (const one of [this.prior, this.current]) one.host.classList.toggle("active", one === side);
  }

  toggleMasks() {
    for (const side of [this.prior, this.current]) {
      side.isMaskShown = !side.isMaskShown;
      side.changed("tables");
    }
    this.masks.setAttribute("aria-pressed", String(this.current.isMaskShown));
  }

  readOut(side) {
    const [x, y, z] = side.volume.grid.world(side.cursor);
    this.where.textContent = `${x.toFixed(1)}  ${y.toFixed(1)}  ${z.toFixed(1)} mm`;
  }

  press(event) {
    const target = event.composedPath()[0];
    if (["SELECT", "INPUT"].includes(target.tagName) && !target.matches?.(".slice-slider")) return;
    if (target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return;
    const side = this.activeSide;
    const planes = Object.keys(PLANES);
    const run = {
      ArrowUp: () => side.step(1),
      ArrowDown: () => side.step(-1),
      PageUp: () => side.step(10),
      PageDown: () => side.step(-10),
      Home: () => side.step(-Infinity),
      End: () => side.step(Infinity),
      a: () => this.setPlane(planes[(planes.indexOf(this.plane) + 1) % planes.length]),
      b: () => this.setActive(side === this.prior ? this.current : this.prior),
      k: () => this.setLinked(!this.isLinked),
      m: () => this.toggleMasks(),
      q: () => this.trigger("go", "worklist"),
      Enter: () => this.trigger("open", ["read", this.current.study.id]),
    }[event.key];
    if (run) run();
    else if (!this.current.volume || !this.current.applyPreset(event.key)) return;
    event.preventDefault();
  }

  destroy() {
    this.prior.destroy();
    this.current.destroy();
    super.destroy();
  }
}

// The same place in both where they may share the patient's coordinates; otherwise their middles on each other.
function startingShift(prior, current) {
  const [before, now] = [prior, current].map((side) => side.volume.grid.world(side.volume.grid.shape.map((n) => (n - 1) / 2)));
  const apart = before.map((mm, axis) => mm - now[axis]);
  const reach = current.volume.grid.shape.map((n, axis) => n * current.volume.grid.spacingMm[axis]);
  return Math.hypot(...apart) < Math.max(...reach) / 4 ? [0, 0, 0] : apart;
}

export const mount = mounter(Compare);
