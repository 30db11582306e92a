// Who looked at, changed, exported or ran what, the newest first.

import { element, replaceChildren } from "../page/dom.js";
import { mounter, Page } from "./page.js";
import { table } from "./table.js";

const COLUMNS = [["made", "When (UTC)"], ["user", "Who"], ["act", "What"], ["study", "Study"], ["detail", "Detail"]];

export class Log extends Page {
  constructor(parent) {
    super(parent, "log");
  }

  async take() {
    const acts = await this.attempt(() => this.server.json("/data/log"));
    if (acts !== null) replaceChildren(this.main, element("h1", { text: "Log" }), table(COLUMNS, acts, { class: "worklist log" }));
  }
}

export const mount = mounter(Log);
