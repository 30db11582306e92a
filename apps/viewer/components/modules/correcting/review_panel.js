// The part of the side panel where a mask is corrected and a study is signed off.

import { button, element, replaceChildren } from "../page/dom.js";
import { allButPiece, betweenSlices, holes, pieceAt } from "./operations.js";

const RADII_MM = [0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30];

export const REVIEW_KEYS = [
  { group: "Correct", shown: "b, e", keys: [], words: "brush, eraser (Space paints at the cross-hair)" },
  { group: "Correct", shown: "[ ]", keys: ["[", "]"], words: "smaller and larger", run: (room, key) => room.panel.resize(key === "]" ? 1 : -1) },
  { group: "Correct", shown: "d", keys: ["d"], words: "disc or ball", run: (room) => room.panel.change({ is3d: !room.brush.is3d }) },
  { group: "Correct", shown: "j", keys: ["j"], words: "next label to draw", run: (room) => room.panel.nextLabel() },
  { group: "Correct", shown: "f", keys: ["f"], words: "fill holes of the label", run: (room) => room.panel.fillHoles() },
  { group: "Correct", shown: "p", keys: ["p"], words: "interpolate between drawn slices", run: (room) => room.panel.interpolate() },
  { group: "Correct", shown: "k, Shift + k", keys: ["k", "K"], words: "remove or keep only the piece under the cross-hair", run: (room, key) => room.panel.islands(key === "K") },
  { group: "Correct", shown: "Shift + o", keys: ["O"], words: "another mask of this scan, dashed: before correction, or another model's", run: (room) => room.other.toggle() },
  { group: "Correct", shown: "Shift + d", keys: ["D"], words: "where the two masks differ, in colours", run: (room) => room.other.toggleDifference() },
  { group: "Findings", shown: "Shift + m", keys: ["M"], words: "uncertainty of the model", run: (room) => room.uncertainty.toggle() },
  { group: "Findings", shown: ";", keys: [";"], words: "next uncertain slice", run: (room) => room.uncertainty.next() },
  { group: "Correct", shown: "Ctrl + z, Ctrl + y", keys: ["z", "Z", "y"], isCommand: true, words: "undo, redo", run: (room, key) => (key === "z" ? room.edit.undo() : room.edit.redo()) },
  { group: "Sign off", shown: "Ctrl + s", keys: ["s"], isCommand: true, words: "save the correction", run: (room) => room.panel.save() },
  { group: "Sign off", shown: "y, u", keys: ["y", "u"], words: "accept, reject the chosen finding", run: (room, key) => room.panel.decideFinding(key === "y" ? "accepted" : "rejected") },
  { group: "Sign off", shown: "Shift + y, Shift + u", keys: ["Y", "U"], words: "accept, reject the study", run: (room, key) => room.panel.decideStudy(key === "Y" ? "accepted" : "rejected") },
  { group: "Studies", shown: "g", keys: ["g"], words: "next study that is not decided", run: (room) => room.leave("next") },
];

export class ReviewPanel {
  constructor(room) {
    this.room = room;
    this.host = element("section", { class: "review" });
  }

  open() {
    const { room } = this;
    this.label = element("select", { "aria-label": "Label to draw", onchange: (event) => this.change({ label: Number(event.target.value) }) });
    this.label.append(...room.study.labels.map((label) => element("option", { value: String(label.index), text: label.name })));
    this.radius = element("input", { type: "range", min: "0", max: String(RADII_MM.length - 1), step: "1", "aria-label": "Radius of the brush", oninput: (event) => this.change({ radiusMm: RADII_MM[Number(event.target.value)] }) });
    this.radiusText = element("span", { class: "number" });
    this.ball = this.box("Ball", "is3d", "Paint in three dimensions (d)");
    this.background = this.box("Over background only", "isOnBackground", "Leave other labels as they are");
    this.oneLabel = this.box("Erase this label only", "isOneLabel", "Leave other labels as they are");
    this.limited = this.box("Only values", "isLimited", "Paint and erase only where the scan's value lies between these");
    this.limits = [0, 1].map((n) => element("input", { type: "number", step: "any", class: "limit", "aria-label": n === 0 ? "Lowest value" : "Highest value", onchange: (event) => this.setLimit(n, event.target.value) }));
    this.reason = element("input", { type: "text", maxlength: "2000", placeholder: "Reason, kept with what you save", "aria-label": "Reason" });
    this.undo = button("Undo", "Undo (Ctrl + z)", () => room.edit.undo());
    this.redo = button("Redo", "Redo (Ctrl + y)", () => room.edit.redo());
    const isSecond = room.study.is_second_reading;
    this.saveButton = button(isSecond ? "Finish second reading" : "Save correction", "Save (Ctrl + s)", () => this.save(), { class: "button main", "data-action": "save" });
    this.discard = button("Discard", "Go back to the stored mask", () => room.review.discard());
    this.state = element("span", { class: "quiet", role: "status", "data-read": "review-state" });
    this.standing = element("span", { class: "badge" });
    replaceChildren(
      this.host,
      element("h2", {}, isSecond ? "Second reading" : "Review", this.standing),
      element("div", { class: "row" }, this.label, this.ball.host),
      element("label", { class: "slider" }, element("span", { text: "Radius" }), this.radius, this.radiusText),
      element("div", { class: "row" }, this.limited.host, this.limits[0], "to", this.limits[1], room.study.scan.unit === "HU" ? "HU" : null),
      element("details", {}, element("summary", { text: "More" }), this.background.host, this.oneLabel.host),
      element(
        "div",
        { class: "preset-grid" },
        button("Fill holes", "Fill holes of the label, slice by slice (f)", () => this.fillHoles()),
        button("Interpolate", "Fill the slices between drawn ones (p)", () => this.interpolate()),
        button("Remove piece", "Remove the piece under the cross-hair (k)", () => this.islands(false)),
        button("Keep piece only", "Remove all but the piece under the cross-hair (Shift + k)", () => this.islands(true)),
        this.undo,
        this.redo,
      ),
      this.reason,
      element("div", { class: "row" }, this.saveButton, this.discard),
      element("div", { class: "row" }, this.state),
      room.drafts.host,
      isSecond ? null : element(
        "div",
        { class: "preset-grid" },
        button("Accept study", "Accept the study as it is (Shift + y)", () => this.decideStudy("accepted"), { "data-action": "accept" }),
        button("Reject study", "Reject the study (Shift + u)", () => this.decideStudy("rejected"), { "data-action": "reject" }),
      ),
    );
    this.update();
    return this.host;
  }

  box(words, name, title) {
    const input = element("input", { type: "checkbox", onchange: (event) => this.change({ [name]: event.target.checked }) });
    return { input, name, host: element("label", { title }, input, ` ${words}`) };
  }

  change(values) {
    Object.assign(this.room.brush, values);
    this.update();
    this.room.redraw();
  }

  setLimit(n, text) {
    const value = Number(text);
    if (text === "" || !Number.isFinite(value)) return;
    const limits = [...this.room.brush.limits];
    limits[n] = value;
    this.change({ limits: limits[0] <= limits[1] ? limits : limits.reverse(), isLimited: true });
  }

  resize(step) {
    const at = RADII_MM.findIndex((mm) => mm >= this.room.brush.radiusMm);
    this.change({ radiusMm: RADII_MM[Math.min(RADII_MM.length - 1, Math.max(0, at + step))] });
  }

  nextLabel() {
    const indices = this.room.study.labels.map((label) => label.index);
    this.change({ label: indices[(indices.indexOf(this.room.brush.label) + 1) % indices.length] });
  }

  fillHoles() {
    this.run((room) => [holes(room.volume.grid, room.mask, room.active.planeName, room.brush.label), room.brush.label]);
  }

  interpolate() {
    this.run((room) => [betweenSlices(room.volume.grid, room.mask, room.active.planeName, room.brush.label), room.brush.label]);
  }

  islands(isKept) {
    this.run((room) => {
      const piece = pieceAt(room.volume.grid, room.mask, room.cursor);
      if (piece === null) return null;
      return [isKept ? allButPiece(room.mask, piece) : piece.offsets, 0];
    });
  }

  run(operation) {
    const { room } = this;
    if (!room.mayEdit()) return;
    const found = operation(room);
    if (found === null) {
      room.say("There is no label under the cross-hair.");
      return;
    }
    const changed = room.edit.fill(...found);
    room.say(changed === 0 ? "There was nothing to change." : "");
  }

  save() {
    return this.room.review.save(this.reason.value);
  }

  decideStudy(decision) {
    return this.room.review.decide(decision, null, this.reason.value);
  }

  decideFinding(decision) {
    const finding = this.room.study.findings[this.room.chosenFinding];
    if (finding === undefined) {
      this.room.say("Choose a finding first (n).");
      return null;
    }
    return this.room.review.decide(decision, [finding.label, finding.instance], this.reason.value);
  }

  update() {
    const { brush, edit, review, study } = this.room;
    if (!this.label) return;
    this.label.value = String(brush.label);
    this.radius.value = String(Math.max(0, RADII_MM.findIndex((mm) => mm >= brush.radiusMm)));
    this.radiusText.textContent = `${brush.radiusMm} mm`;
    for (const { input, name } of [this.ball, this.background, this.oneLabel, this.limited]) input.checked = brush[name];
    this.limits.forEach((input, n) => {
      if (input !== input.getRootNode().activeElement) input.value = String(Math.round(brush.limits[n] * 100) / 100);
    });
    this.undo.disabled = edit.done.length === 0;
    this.redo.disabled = edit.undone.length === 0;
    this.saveButton.disabled = !edit.isDirty && !study.is_second_reading;
    this.discard.disabled = !edit.isDirty;
    this.state.textContent = review.state;
    this.standing.textContent = study.status;
    this.standing.className = `badge ${study.status.replace(" ", "-")}`;
  }
}
