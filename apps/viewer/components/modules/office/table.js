// A table from rows of plain values: columns say the name of the value, the words of the heading, and how a cell is made.

import { element } from "../page/dom.js";

export function table(columns, rows, properties = {}) {
  const head = columns.map(([, words, options]) => element("th", { scope: "col", class: options?.isNumber ? "number" : null, text: words }));
  return element(
    "table",
    { class: "worklist", ...properties },
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows.map((row) => tableRow(columns, row))),
  );
}

export function tableRow(columns, row, properties = {}) {
  return element("tr", properties, ...columns.map((column) => cell(column, row)));
}

function cell([name, , options], row) {
  const made = element("td", { class: options?.isNumber ? "number" : `col-${name}` });
  if (options?.make) made.append(...[options.make(row)].flat().filter((one) => one !== null));
  else made.textContent = row[name] ?? "";
  return made;
}

// Seconds since 1970 as the day and minute here, written as everywhere in the viewer: 2026-11-26 08:50.
export function moment(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const at = new Date(seconds * 1000);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16).replace("T", " ");
}
