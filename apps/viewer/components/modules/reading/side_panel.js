// The panel beside the pictures: warnings, findings, labels of the mask, grey windows.

import { button, element, iconButton, replaceChildren } from "../page/dom.js";
import { DIFFERENCE } from "./other_mask.js";

const EYE = "M1 8s2.5-4.5 7-4.5S15 8 15 8s-2.5 4.5-7 4.5S1 8 1 8zM8 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4z";

export class SidePanel {
  constructor(room) {
    this.room = room;
    this.host = element("aside", { class: "side", "aria-label": "Findings and display" });
  }

  // Build everything anew for a study.
  open(study) {
    this.rows = [];
    replaceChildren(this.host, this.warnings(study), this.findings(study), this.room.marks.host, this.labels(study), this.room.readings.open(study), study.mask ? this.room.panel.open() : null, this.windows(study));
    this.update();
    this.choose(this.room.chosenFinding);
  }

  warnings(study) {
    if (study.warnings.length === 0) return null;
    return element(
      "section",
      { class: "warnings", role: "alert" },
      element("h2", { text: study.warnings.length === 1 ? "Please note" : `Please note (${study.warnings.length})` }),
      element("ul", {}, ...study.warnings.map((text) => element("li", { text }))),
    );
  }

  findings(study) {
    const section = element("section", { class: "findings" }, element("h2", { text: "Findings" }), predicted(study.predicted));
    if (study.findings.length === 0) {
      section.append(element("p", { class: "quiet", text: study.model ? "Nothing was found." : "This scan has not been segmented." }));
      return section;
    }
    const groups = new Map();
    study.findings.forEach((finding, n) => {
      const columns = leadingMeasurements(finding).map((m) => m.name).join();
      groups.set(columns, [...(groups.get(columns) ?? []), n]);
    });
    for (const members of groups.values()) section.append(this.table(study, members));
    this.detail = element("div", { class: "detail" });
    section.append(this.detail);
    return section;
  }

  // Findings that are measured alike, under columns of their own.
  table(study, members) {
    const columns = leadingMeasurements(study.findings[members[0]]);
    const head = element("tr", {}, element("th", { text: "Structure", scope: "col" }), ...columns.map((c) => element("th", { class: "number", scope: "col", text: `${c.name}${c.unit === "1" ? "" : ` (${c.unit})`}` })));
    for (const n of members) this.rows[n] = this.row(study.findings[n], n, columns);
    return element("table", {}, element("thead", {}, head), element("tbody", {}, ...members.map((n) => this.rows[n])));
  }

  row(finding, n, columns) {
    const name = finding.is_counted ? `${finding.label} ${finding.instance}` : finding.label;
    const jump = element("button", { type: "button", class: "jump", title: "Go there", onclick: () => this.room.goToFinding(n) }, swatch(finding.colour), element("span", { text: name }));
    const cells = columns.map((column) => element("td", { class: "number", text: cell(finding, column.name) }));
    const verdict = this.room.study.verdicts.find((one) => one.finding[0] === finding.label && one.finding[1] === finding.instance);
    if (finding.place) jump.append(element("span", { class: "quiet", text: finding.place }));
    if (finding.flags.length > 0) jump.append(element("span", { class: "flag", text: "!", title: finding.flags.join(", "), "aria-label": finding.flags.join(", ") }));
    if (verdict) jump.append(element("span", { class: `verdict ${verdict.decision}`, text: verdict.decision === "accepted" ? "✓" : "✕", title: verdict.decision }));
    return element("tr", { "data-finding": String(n), onclick: () => this.room.goToFinding(n) }, element("td", {}, jump), ...cells);
  }

  labels(study) {
    const section = element("section", { class: "labels" }, element("h2", { text: "Mask" }));
    if (!study.mask) {
      section.append(element("p", { class: "quiet", text: "There is no mask to show." }));
      return section;
    }
    const { room } = this;
    this.eyes = new Map();
    for (const label of study.labels) {
      const eye = iconButton(EYE, `Show or hide ${label.name}`, () => room.toggleLabel(label.index), { class: "icon eye" });
      this.eyes.set(label.index, eye);
      const colour = element("input", { type: "color", class: "colour", value: hex(label.colour), "aria-label": `Colour of ${label.name}`, oninput: (event) => room.setColour(label.index, rgb(event.target.value)) });
      section.append(element("div", { class: "label-row" }, colour, element("span", { class: "name", text: label.name }), eye));
    }
    this.opacity = element("input", { type: "range", min: "0", max: "100", step: "5", "aria-label": "Opacity of the mask", oninput: (event) => room.setOpacity(Number(event.target.value) / 100) });
    this.opacityText = element("span", { class: "number" });
    this.outlineBox = element("input", { type: "checkbox", onchange: () => room.toggle("hasOutline") });
    this.shownBox = element("input", { type: "checkbox", onchange: () => room.toggle("isMaskShown") });
    section.append(
      element("label", { class: "slider" }, element("span", { text: "Opacity" }), this.opacity, this.opacityText),
      element("div", { class: "boxes" }, element("label", {}, this.shownBox, " Mask"), element("label", {}, this.outlineBox, " Outline"), this.unsure(study)),
    );
    const others = this.others(study);
    if (others !== null) section.append(others);
    return section;
  }

  unsure(study) {
    this.unsureBox = null;
    if (!study.has_uncertainty) return null;
    this.unsureBox = element("input", { type: "checkbox", onchange: () => this.room.uncertainty.toggle() });
    return element("label", { title: "Uncertainty of the model (Shift + m)" }, this.unsureBox, " Uncertainty");
  }

  // The choice of another mask of the same scan to lay over this one, and how far the two agree.
  others(study) {
    this.otherChoice = null;
    if (study.others.length === 0) return null;
    const { other } = this.room;
    this.otherChoice = element("select", { "aria-label": "Another mask", onchange: (event) => other.choose(event.target.value) });
    this.otherChoice.append(element("option", { value: "", text: "No other mask" }), ...study.others.map(({ id, name }) => element("option", { value: id, text: name })));
    this.differenceBox = element("input", { type: "checkbox", onchange: () => other.toggleDifference() });
    this.agreement = element("div", { class: "detail", "data-read": "agreement" });
    return element("div", { class: "others" }, this.otherChoice, element("label", { title: "Where the two differ (Shift + d)" }, this.differenceBox, " Difference"), this.agreement);
  }

  updateOthers() {
    const { other, uncertainty } = this.room;
    if (this.unsureBox) this.unsureBox.checked = uncertainty.isShown;
    if (!this.otherChoice) return;
    this.otherChoice.value = other.id ?? "";
    this.differenceBox.checked = other.isDifference;
    const of = `${other.version}|${this.room.versions.mask}`;
    if (of === this.agreementOf) return;
    this.agreementOf = of;
    const key = other.isShown && other.isDifference ? [legend(DIFFERENCE.here, "here only"), legend(DIFFERENCE.there, "there only"), legend(DIFFERENCE.label, "another label")] : [];
    const lines = other.dice().map(([name, dice]) => element("div", {}, element("span", { text: `Dice, ${name}` }), element("span", { class: "number", text: dice.toFixed(3) })));
    replaceChildren(this.agreement, ...key, ...lines);
  }

  windows() {
    this.presets = this.room.presets.map((preset) =>
      button(preset.name, `Width ${number(preset.width)}, level ${number(preset.centre)} (key ${preset.key})`, () => this.room.applyPreset(preset.key), { class: "button preset", "data-preset": preset.key }),
    );
    this.slabMode = element("select", { "aria-label": "Slab", onchange: (event) => this.room.setSlab({ mode: event.target.value }) });
    for (const [value, text] of [["none", "One slice"], ["mip", "MIP"], ["minip", "MinIP"], ["mean", "Mean"]]) this.slabMode.append(element("option", { value, text }));
    this.slabWidth = element("input", { type: "range", min: "2", max: "60", step: "1", "aria-label": "Thickness of the slab", oninput: (event) => this.room.setSlab({ thicknessMm: Number(event.target.value) }) });
    this.slabText = element("span", { class: "number" });
    return element(
      "section",
      { class: "windows" },
      element("h2", { text: "Grey window and slab" }),
      element("div", { class: "preset-grid" }, ...this.presets),
      element("div", { class: "slider slab" }, this.slabMode, this.slabWidth, this.slabText),
    );
  }

  // Bring switches, sliders and the chosen row in line with the room.
  update() {
    const { room } = this;
    if (this.opacity && room.study.mask) {
      this.opacity.value = String(Math.round(room.opacity * 100));
      this.opacityText.textContent = `${Math.round(room.opacity * 100)} %`;
      this.outlineBox.checked = room.hasOutline;
      this.shownBox.checked = room.isMaskShown;
      for (const [index, eye] of this.eyes) eye.setAttribute("aria-pressed", String(!room.hidden.has(index)));
    }
    this.updateOthers();
    room.presets.forEach((preset, n) => {
      const isOn = preset.centre === room.window.centre && preset.width === room.window.width;
      this.presets[n].setAttribute("aria-pressed", String(isOn));
    });
    this.slabMode.value = room.slab.mode;
    this.slabWidth.disabled = room.slab.mode === "none";
    this.slabWidth.value = String(room.slab.thicknessMm || 10);
    this.slabText.textContent = room.slab.mode === "none" ? "" : `${room.slab.thicknessMm} mm`;
  }

  choose(n) {
    this.rows.forEach((row, at) => {
      if (row.classList.toggle("chosen", at === n)) row.scrollIntoView({ block: "nearest" });
    });
    if (!this.detail) return;
    const finding = this.room.study.findings[n];
    if (!finding) return this.detail.replaceChildren();
    const flags = finding.flags.map((text) => element("div", { class: "flagged", text: `! ${text}` }));
    this.detail.replaceChildren(...flags, ...finding.measurements.map((m) => measurementLine(m)));
  }
}

// What the model's quality control expects of its mask, before anybody corrected it.
function predicted(quality) {
  if (!quality) return null;
  const [low, high] = quality.interval.map((end) => end.toFixed(2));
  const text = `Predicted Dice ${quality.dice.toFixed(2)} (${Math.round(quality.coverage * 100)} % interval ${low} to ${high})`;
  return element("p", { class: "quiet predicted", text, title: "How far the model's mask is expected to agree with a reader's" });
}

function legend(colour, text) {
  return element("div", { class: "legend" }, swatch(colour), element("span", { text }));
}

function hex(colour) {
  return `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

function rgb(text) {
  return [1, 3, 5].map((at) => Number.parseInt(text.slice(at, at + 2), 16));
}

export function swatch([r, g, b]) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.background = `rgb(${r} ${g} ${b})`;
  return made;
}

export function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 1 ? 1 : 3);
}

// The first two kinds of measurement that a finding has: the columns of its table.
function leadingMeasurements(finding) {
  return finding.measurements.slice(0, 2);
}

function cell(finding, name) {
  const found = finding.measurements.find((m) => m.name === name);
  return found ? number(found.value) : "–";
}

function measurementLine(m) {
  const interval = m.interval ? ` (${number(m.interval[0])} – ${number(m.interval[1])})` : "";
  const unit = m.unit === "1" ? "" : ` ${m.unit}`;
  return element("div", {}, element("span", { text: m.name }), element("span", { class: "number", text: `${number(m.value)}${unit}${interval}` }));
}
