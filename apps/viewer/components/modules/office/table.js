// A table from rows of plain values: columns say the name of the value, the words of the heading, and how a cell is made.

import { element } from "../page/dom.js";

export function table(columns, rows, properties = {}) {
  const head = columns.map(([, words, options]) => element("th", { scope: "col", class: options?.isNumber ? "number" : null, text: words }));
  return element(
    "table",
    { class: "worklist", ...properties },
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...columns.map((column) => cell(column, row))))),
  );
}

function cell([name, , options], row) {
  const made = element("td", { class: options?.isNumber ? "number" : `col-${name}` });
  if (options?.make) made.append(...[options.make(row)].flat().filter((one) => one !== null));
  else made.textContent = row[name] ?? "";
  return made;
}

export function ago(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" });
}
