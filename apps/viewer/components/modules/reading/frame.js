// The bar above the pictures and the line below them.

import { element, iconButton, replaceChildren } from "../page/dom.js";
import { readOutFields } from "./read_out.js";

const SWITCHES = [
  ["isInverted", "Invert (i)", "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM8 1v14M8 3.5h3M8 6h5.5M8 8.500h6M8 11h5"],
  ["isCrosshairShown", "Cross-hair lines (x)", "M8 1v14M1 8h14"],
  ["areCornersShown", "Corner texts (t)", "M2 4h5M2 7h3M9 12h5M11 9h3"],
  ["isSmooth", "Smooth picture (s)", "M1 11c3 0 3-6 7-6s4 6 7 6"],
];
const BACK = "M10 2L4 8l6 6";
const CUBE = "M8 1.500l6 3.300v6.400l-6 3.300-6-3.300V4.800zM8 8l6-3.200M8 8L2 4.800M8 8v6.500";
const SPARK = "M6.500 3l1.300 3.700L11.500 8l-3.700 1.300L6.500 13l-1.300-3.700L1.500 8l3.700-1.300zM12.500 1.500v4M10.500 3.500h4M13 11.500v3M11.500 13h3";
const TRAY = "M8 1.500v8.500M4.500 7L8 10.500 11.500 7M2 11v3h12v-3";
const QUESTION = "M5.500 6a2.500 2.500 0 1 1 3.500 2.300c-.7.3-1 .8-1 1.700M8 12.800v.4";
const RESET = "M3 8a5 5 0 1 1 1.500 3.500M3 12V8.500h3.500";

export function buildHeader(room) {
  const { study } = room;
  room.toolButtons = Object.values(room.tools).filter((tool) => study.mask || !tool.needsMask).map((tool) => [
    tool.name,
    iconButton(tool.icon, `${tool.words}${tool.key ? ` (${tool.key})` : ""}`, () => room.setTool(tool.name), { "data-tool": tool.name }),
  ]);
  room.switchButtons = SWITCHES.map(([name, words, icon]) => [name, iconButton(icon, words, () => room.toggle(name))]);
  room.bar = element("progress", { class: "loading", max: 1, "aria-label": "Loading the scan" });
  replaceChildren(
    room.header,
    iconButton(BACK, "Worklist (q)", () => room.leave(), { "data-action": "leave" }),
    element(
      "div",
      { class: "who" },
      element("strong", { text: study.patient || study.name }),
      element("span", { class: "quiet", text: study.about, title: study.about }),
    ),
    element("div", { class: "tools", role: "toolbar", "aria-label": "Tools" }, ...room.toolButtons.map(([, made]) => made)),
    element(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Display" },
      ...room.switchButtons.map(([, made]) => made),
      iconButton(CUBE, "Three-dimensional view (v)", () => room.toggle3d(), { "data-action": "3d" }),
      iconButton(RESET, "Reset zoom and position (r)", () => room.resetViews()),
    ),
    element(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Study" },
      room.mayCorrect && !study.is_second_reading ? iconButton(SPARK, "Segment this scan (Shift + s)", () => room.segment(), { "data-action": "segment" }) : null,
      study.is_second_reading ? null : iconButton(TRAY, "Export (Shift + e)", () => room.export(), { "data-action": "export" }),
    ),
    element("span", { class: "gap" }),
    room.bar,
    study.is_second_reading ? element("strong", { class: "badge blind", text: "Second reading", title: "What others drew on this study is not shown" }) : null,
    element("strong", { class: "notice", text: study.notice }),
    iconButton(QUESTION, "Keys (?)", () => room.toggleHelp()),
  );
}

export function buildStatus(room) {
  room.readOutText = readOutFields();
  replaceChildren(room.status, ...Object.values(room.readOutText), element("span", { class: "gap" }), element("span", { class: "quiet", text: room.study.provenance }));
}
