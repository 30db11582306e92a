// What became of each lesion, as a table whose rows lead to it in both scans.

import { element } from "../page/dom.js";

const WORDS = { matched: "same", merged: "merged", split: "split", regrouped: "regrouped", new: "new", vanished: "gone" };

export function changeTable(found, onrow) {
  const heading = element("h2", { text: "Changes" });
  if (found.changes.length === 0) return [heading, element("p", { class: "quiet", text: "Neither scan has a counted lesion." })];
  const head = element("tr", {}, ...["Lesion", "Volume (ml)", "Length (mm)", "Change"].map((text, n) => element("th", { scope: "col", class: n === 0 ? null : "number", text })));
  const rows = found.changes.map((change) => row(change, onrow));
  const moved = element("p", { class: "quiet", text: `The prior was moved by ${found.moved_mm.toFixed(1)} mm on the mean to match lesions. Sizes are of each scan's own mask.` });
  return [heading, element("table", { class: "worklist" }, element("thead", {}, head), element("tbody", {}, ...rows)), moved];
}

function row(change, onrow) {
  const name = `${change.label} ${numbers(change.prior)} → ${numbers(change.current)}`;
  const percent = change.volume_change_percent;
  const words = change.kind === "matched" && percent !== null ? signed(percent) : WORDS[change.kind];
  const jump = element("button", { type: "button", class: "jump", text: name, title: "Go there in both", onclick: () => onrow(change) });
  return element(
    "tr",
    { "data-change": change.kind },
    element("td", {}, jump),
    element("td", { class: "number", text: `${size(change.prior, change.prior_ml, 1)} → ${size(change.current, change.current_ml, 1)}` }),
    element("td", { class: "number", text: `${size(change.prior, change.prior_longest_mm, 0)} → ${size(change.current, change.current_longest_mm, 0)}` }),
    element("td", { class: "number", text: words, title: change.doubling_time_days === null ? "" : `doubling time ${change.doubling_time_days.toFixed(0)} days` }),
  );
}

function signed(percent) {
  const rounded = Math.round(percent);
  return rounded === 0 ? "0 %" : `${rounded > 0 ? "+" : "−"}${Math.abs(rounded)} %`;
}

// A lesion that a scan does not show has no size in it.
function size(lesions, value, digits) {
  return lesions.length === 0 ? "–" : value.toFixed(digits);
}

function numbers(list) {
  return list.length === 0 ? "–" : list.join(" + ");
}
