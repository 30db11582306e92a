// The worklist: studies in a table; sort by a heading, filter by status, search by any text, move and open by keys.

import { fetchDialog } from "../dialogs/fetch.js";
import { uploadDialog } from "../dialogs/upload.js";
import { runDialog } from "../dialogs/run.js";
import { button, element, renewChildren, replaceChildren } from "../page/dom.js";
import { mounter, Page } from "./page.js";
import { JobStrip } from "./job_strip.js";

const COLUMNS = [
  ["patient", "Patient"],
  ["patient_id", "ID"],
  ["date", "Date"],
  ["modality", "Modality"],
  ["task", "Task"],
  ["findings", "Findings"],
  ["status", "Status"],
  ["next", "Read next"],
  ["created", "Segmented"],
  ["name", "Folder"],
];

export class Worklist extends Page {
  constructor(parent) {
    super(parent, "worklist");
    this.sortBy = null;
    this.isDescending = false;
    this.status = "all";
    this.rows = [];
    this.marked = new Set();
    this.search = element("input", { type: "search", placeholder: "Search  ( / )", "aria-label": "Search", oninput: () => this.draw() });
    this.filter = element("select", { "aria-label": "Status", onchange: () => this.draw() });
    this.count = element("span", { class: "quiet", role: "status" });
    this.upload = button("Bring in …", "Upload a study (u)", () => this.bringIn(), { "data-action": "upload" });
    this.fetch = button("Fetch …", "Fetch a series from an archive (f)", () => this.fetchIn(), { "data-action": "fetch" });
    this.run = button("Segment …", "Segment the chosen study (s)", () => this.segment(), { "data-action": "segment" });
    this.second = button("Second reading", "Read the chosen study without a look at the first reader's mask (b)", () => this.readBlind(), { "data-action": "second" });
    this.compare = button("Compare", "Compare the chosen study with its prior, or the two that are marked (x marks)", () => this.openPair(), { "data-action": "compare" });
    this.table = element("table", { class: "worklist" }, element("thead", {}, element("tr", {})), element("tbody", {}));
    this.order = [];
    this.strip = new JobStrip(this);
    replaceChildren(this.tools, this.search, this.filter, this.count, element("span", { class: "gap" }), this.upload, this.fetch, this.run, this.second, this.compare);
    // A row of their own: there are too many for the bar of a small screen.
    this.host.classList.add("with-tools");
    this.host.insertBefore(this.tools, this.main);
    replaceChildren(this.main, this.strip.host, this.table);
    this.host.worklist = this;
  }

  take({ rows, last_read: lastRead, may_add: mayAdd, archives }) {
    this.archives = archives;
    this.rows = rows;
    this.rank();
    this.chosen ??= lastRead;
    this.upload.hidden = !this.mayCorrect || !mayAdd;
    this.fetch.hidden = this.upload.hidden || archives.length === 0;
    this.run.hidden = !this.mayCorrect;
    this.second.hidden = !this.mayCorrect;
    const statuses = ["all", ...new Set(rows.map((row) => row.status))];
    renewChildren(this.filter, ...statuses.map((status) => element("option", { value: status, text: status === "all" ? "Every status" : status })));
    this.filter.value = statuses.includes(this.status) ? this.status : "all";
    this.whenReleased(() => this.draw());
    this.strip.look();
    this.lookAtOrder();
  }

  // Where the model most likely failed is to be read first; the server takes a while to judge what is new.
  async lookAtOrder() {
    const order = await this.attempt(() => this.server.json("/data/reading-order"));
    if (order === null || order.join() === this.order.join()) return;
    this.order = order;
    this.rank();
    this.whenReleased(() => this.draw());
  }

  rank() {
    const ranks = new Map(this.order.map((id, n) => [id, String(n + 1)]));
    for (const row of this.rows) row.next = ranks.get(row.id) ?? "";
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
    const compared = (a, b) => sign * String(a).localeCompare(String(b), undefined, { numeric: true });
    // What a study does not say stands last, whichever way the others go.
    return rows.toSorted((a, b) => (a[this.sortBy] === "") - (b[this.sortBy] === "") || compared(a[this.sortBy], b[this.sortBy]));
  }

  draw() {
    const rows = this.shown();
    // A column that no study fills is left out.
    const columns = COLUMNS.filter(([name]) => this.rows.some((row) => row[name] !== ""));
    const head = columns.map(([name, words]) => {
      const order = this.sortBy === name ? (this.isDescending ? "descending" : "ascending") : "none";
      return element("th", { scope: "col", "aria-sort": order, "data-column": name }, element("button", { type: "button", text: words, onclick: () => this.sort(name) }));
    });
    if (!rows.some((row) => row.id === this.chosen)) this.chosen = (rows.find((row) => row.problem === "") ?? rows[0])?.id ?? null;
    renewChildren(this.table.tHead.rows[0], ...head);
    renewChildren(this.table.tBodies[0], ...rows.map((row) => this.row(row, columns)));
    this.count.textContent = rows.length === this.rows.length ? `${rows.length} ${rows.length === 1 ? "study" : "studies"}` : `${rows.length} of ${this.rows.length} studies`;
    if (this.rows.length === 0) this.count.textContent = "No studies in this folder: bring one in, segment a scan into it, or give another folder.";
  }

  row(row, columns) {
    const cells = columns.map(([name], n) => {
      const cell = element("td", { class: `col-${name}` });
      if (n === 0) cell.append(element("button", { type: "button", class: "jump", text: row[name] || row.name.split("/").at(-1), title: "Open", onclick: () => this.open(row) }));
      else if (name === "status") cell.append(element("span", { class: `badge ${row.status.replace(" ", "-")}`, text: row.status }));
      else cell.textContent = row[name];
      if (name === "status" && row.awaits_adjudication) cell.append(element("span", { class: "badge warned", text: "to adjudicate", title: "Read twice: somebody who drew neither says whose mask stands" }));
      if (name === "status" && row.warnings > 0) cell.append(element("span", { class: "badge warned", text: row.warnings === 1 ? "1 warning" : `${row.warnings} warnings` }));
      return cell;
    });
    const classes = [row.id === this.chosen ? "chosen" : "", this.marked.has(row.id) ? "marked" : ""].join(" ").trim();
    const made = element("tr", { "data-study": row.id, "data-kind": row.kind, class: classes || null, ondblclick: () => this.open(row), onclick: () => this.choose(row.id) }, ...cells);
    if (row.problem !== "") (made.querySelector("td.col-task") ?? made.querySelector("td.col-name"))?.append(element("div", { class: "problem", text: row.problem }));
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

  get chosenRow() {
    return this.rows.find((row) => row.id === this.chosen);
  }

  open(row) {
    this.trigger("open", [row.kind === "vessels" ? "vessels" : "read", row.id]);
  }

  bringIn() {
    uploadDialog(this.host, this.server, () => this.trigger("renew", Date.now()));
  }

  fetchIn() {
    fetchDialog(this.host, this.server, this.archives, () => this.trigger("renew", Date.now()));
  }

  segment() {
    const row = this.chosenRow;
    if (row === undefined || row.kind === "vessels") this.say("Choose a scan in the list first.");
    else this.attempt(() => runDialog(this.host, this.server, row, () => this.strip.look()));
  }

  // Open the chosen study for a second reading, if this reader may make one.
  readBlind() {
    const row = this.chosenRow;
    const whyNot = row === undefined || row.kind !== "result" ? "Choose a segmented study in the list first." : row.why_not_second;
    if (whyNot === "") this.trigger("open", ["read", `${row.id}-second`]);
    else this.say(capitalised(whyNot));
  }

  mark(id) {
    if (!this.marked.delete(id)) this.marked.add(id);
    if (this.marked.size > 2) this.marked.delete(this.marked.values().next().value);
    this.draw();
  }

  // The two that are marked; otherwise the chosen study beside the last one before it of the same patient.
  openPair() {
    const pair = this.marked.size === 2 ? this.rows.filter((row) => this.marked.has(row.id)) : [this.chosenRow, priorOf(this.chosenRow, this.rows)];
    if (pair.some((row) => row === undefined)) {
      this.say("There is no earlier study of this patient here. Mark two studies with x to compare them.");
      return;
    }
    const [current, prior] = pair.toSorted((a, b) => (a.date < b.date ? 1 : a.date > b.date ? -1 : 0));
    this.trigger("open", ["compare", current.id, prior.id]);
  }

  press(event) {
    const target = event.composedPath()[0];
    if (event.key === "Escape" && target === this.search) this.search.blur();
    if (event.key === "/" && target !== this.search) {
      this.search.focus();
      event.preventDefault();
      return;
    }
    if (["SELECT", "BUTTON", "INPUT"].includes(target.tagName) && !(target === this.search && ["ArrowDown", "ArrowUp", "Enter"].includes(event.key))) return;
    const run = {
      ArrowDown: () => this.move(1),
      ArrowUp: () => this.move(-1),
      Enter: () => this.chosenRow && this.open(this.chosenRow),
      u: () => !this.upload.hidden && this.bringIn(),
      f: () => !this.fetch.hidden && this.fetchIn(),
      s: () => !this.run.hidden && this.segment(),
      b: () => !this.second.hidden && this.readBlind(),
      x: () => this.chosenRow && this.mark(this.chosen),
      p: () => this.openPair(),
    }[event.key];
    if (run === undefined) return;
    run();
    event.preventDefault();
  }

  move(step) {
    const ids = this.shown().map((row) => row.id);
    if (ids.length > 0) this.choose(ids[Math.min(ids.length - 1, Math.max(0, ids.indexOf(this.chosen) + step))]);
  }

  destroy() {
    this.strip.destroy();
    super.destroy();
  }
}

// The latest study of the same patient that is older than this one.
export function priorOf(row, rows) {
  if (row === undefined || row.patient_id === "") return undefined;
  const earlier = rows.filter((one) => one.patient_id === row.patient_id && one.id !== row.id && one.date < row.date && one.kind === "result");
  return earlier.toSorted((a, b) => (a.date < b.date ? 1 : -1))[0];
}

function capitalised(sentence) {
  return `${sentence[0].toUpperCase()}${sentence.slice(1)}.`;
}

export const mount = mounter(Worklist);
