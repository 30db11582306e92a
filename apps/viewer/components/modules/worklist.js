// The worklist: studies in a table; sort by a heading, filter by status, search by any text, move and open by keys.

import { element, replaceChildren } from "./dom.js";

const COLUMNS = [
  ["patient", "Patient"],
  ["patient_id", "ID"],
  ["date", "Date"],
  ["modality", "Kind"],
  ["task", "Task"],
  ["findings", "Findings"],
  ["status", "Status"],
  ["created", "Segmented"],
  ["name", "Folder"],
];
const kept = new WeakMap();

export function mount(component, assets) {
  const { parentElement, data } = component;
  let list = kept.get(parentElement);
  if (list === undefined) {
    parentElement.append(element("link", { rel: "stylesheet", href: `${assets}/style.css` }));
    list = new Worklist(parentElement);
    kept.set(parentElement, list);
  }
  list.open = (id) => component.setTriggerValue("open", id);
  list.take(data);
  return () => {
    setTimeout(() => {
      if ((parentElement.host ?? parentElement).isConnected) return;
      list.destroy();
      kept.delete(parentElement);
    });
  };
}

export class Worklist {
  constructor(parent) {
    this.sortBy = null;
    this.isDescending = false;
    this.status = "all";
    this.rows = [];
    this.search = element("input", { type: "search", placeholder: "Search  ( / )", "aria-label": "Search", oninput: () => this.draw() });
    this.filter = element("select", { "aria-label": "Status", onchange: () => this.draw() });
    this.count = element("span", { class: "quiet", role: "status" });
    this.table = element("table", { class: "worklist" });
    this.host = element(
      "div",
      { class: "room list-page" },
      element("header", { class: "top" }, element("h1", { text: "Worklist" }), this.search, this.filter, this.count, element("span", { class: "gap" }), element("strong", { class: "notice", text: "Not for diagnostic use" })),
      element("main", { class: "list" }, this.table),
    );
    this.host.worklist = this;
    parent.append(this.host);
    this.onkey = (event) => this.press(event);
    window.addEventListener("keydown", this.onkey);
  }

  take({ rows, last_read: lastRead }) {
    this.rows = rows;
    this.chosen ??= lastRead;
    const statuses = ["all", ...new Set(rows.map((row) => row.status))];
    replaceChildren(this.filter, ...statuses.map((status) => element("option", { value: status, text: status === "all" ? "Every status" : status })));
    this.filter.value = statuses.includes(this.status) ? this.status : "all";
    this.draw();
  }

  shown() {
    this.status = this.filter.value;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = this.rows.filter((row) => {
      const text = COLUMNS.map(([name]) => row[name]).join(" ").toLowerCase();
      return (this.status === "all" || row.status === this.status) && words.every((word) => text.includes(word));
    });
    if (this.sortBy === null) return rows;
    const sign = this.isDescending ? -1 : 1;
    return rows.toSorted((a, b) => sign * String(a[this.sortBy]).localeCompare(String(b[this.sortBy]), undefined, { numeric: true }));
  }

  draw() {
    const rows = this.shown();
    // A column that no study fills is left out.
    const columns = COLUMNS.filter(([name]) => this.rows.some((row) => row[name] !== ""));
    const head = columns.map(([name, words]) => {
      const order = this.sortBy === name ? (this.isDescending ? "descending" : "ascending") : "none";
      return element("th", { scope: "col", "aria-sort": order }, element("button", { type: "button", text: words, onclick: () => this.sort(name) }));
    });
    if (!rows.some((row) => row.id === this.chosen)) this.chosen = rows[0]?.id ?? null;
    replaceChildren(
      this.table,
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...rows.map((row) => this.row(row, columns))),
    );
    this.count.textContent = rows.length === this.rows.length ? `${rows.length} ${rows.length === 1 ? "study" : "studies"}` : `${rows.length} of ${this.rows.length} studies`;
    if (this.rows.length === 0) this.count.textContent = "No studies in this folder: segment a scan into it, or give another folder.";
  }

  row(row, columns) {
    const cells = columns.map(([name], n) => {
      const cell = element("td", { class: `col-${name}` });
      if (n === 0) cell.append(element("button", { type: "button", class: "jump", text: row[name] || row.name, title: "Open", onclick: () => this.open(row.id) }));
      else if (name === "status") cell.append(element("span", { class: `badge ${row.status.replace(" ", "-")}`, text: row.status }));
      else cell.textContent = row[name];
      if (name === "status" && row.warnings > 0) cell.append(element("span", { class: "badge warned", text: row.warnings === 1 ? "1 warning" : `${row.warnings} warnings` }));
      return cell;
    });
    const made = element("tr", { "data-study": row.id, class: row.id === this.chosen ? "chosen" : null, ondblclick: () => this.open(row.id), onclick: () => this.choose(row.id) }, ...cells);
    if (row.problem !== "") made.querySelector("td.col-name")?.append(element("div", { class: "problem", text: row.problem }));
    return made;
  }

  sort(name) {
    this.isDescending = this.sortBy === name && !this.isDescending;
    this.sortBy = name;
    this.draw();
  }

  choose(id) {
    this.chosen = id;
    for (const row of this.table.querySelectorAll("tbody tr")) row.classList.toggle("chosen", row.dataset.study === id);
    this.table.querySelector("tr.chosen")?.scrollIntoView({ block: "nearest" });
  }

  press(event) {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && target === this.search) this.search.blur();
    if (["SELECT", "BUTTON"].includes(target.tagName) && event.key !== "/") return;
    if (event.key === "/" && target !== this.search) {
      this.search.focus();
      event.preventDefault();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const ids = this.shown().map((row) => row.id);
      const at = ids.indexOf(this.chosen) + (event.key === "ArrowDown" ? 1 : -1);
      if (ids.length > 0) this.choose(ids[Math.min(ids.length - 1, Math.max(0, at))]);
      event.preventDefault();
    } else if (event.key === "Enter" && this.chosen !== null) {
      this.open(this.chosen);
    }
  }

  destroy() {
    window.removeEventListener("keydown", this.onkey);
    this.host.remove();
  }
}
