// The jobs: what waits, runs, is done, failed or was taken back, with the reason; tried again or taken back here.

import { button, element, renewChildren, replaceChildren } from "../page/dom.js";
import { jobLine } from "./job_strip.js";
import { mounter, Page } from "./page.js";
import { moment, table, tableRow } from "./table.js";

const LOOK_MS = 1000;
const COLUMNS = (page) => [
  ["source", "Scan"],
  ["model", "Model"],
  ["state", "State", { make: (job) => element("span", { class: `badge ${job.state}`, text: job.state }) }],
  ["submitted", "Asked", { make: (job) => element("span", { text: moment(job.submitted_s) }) }],
  ["ended", "Ended", { make: (job) => element("span", { text: moment(job.settled_s) }) }],
  ["result", "Result", { make: (job) => element("span", { text: job.state === "done" ? `${job.result?.findings === 1 ? "1 finding" : `${job.result?.findings ?? 0} findings`}, ${job.result?.seconds ?? 0} s, in ${job.output}` : (job.reason ?? "") }) }],
  ["act", "", { make: (job) => page.action(job) }],
];

export class Jobs extends Page {
  constructor(parent) {
    super(parent, "jobs");
    this.open = element("section", { class: "job-strip", "aria-label": "Jobs at work" });
    this.columns = COLUMNS(this);
    this.table = table(this.columns, [], { class: "worklist jobs" });
    this.empty = element("p", { class: "quiet", text: "No segmentation was asked for yet. Choose a study in the worklist and press “Segment …”, or s." });
    replaceChildren(this.main, element("h1", { text: "Jobs" }), this.open, this.empty, this.table);
  }

  take() {
    this.look();
  }

  async look() {
    const jobs = await this.attempt(() => this.server.json("/data/jobs"));
    if (jobs === null) return;
    if (jobs.filter(isRunning).length === this.open.childElementCount) this.show(jobs);
    else this.whenReleased(() => this.show(jobs));
  }

  show(jobs) {
    clearTimeout(this.timer);
    const open = jobs.filter(isRunning);
    this.open.hidden = open.length === 0;
    this.empty.hidden = jobs.length > 0;
    renewChildren(this.open, ...open.map((job) => jobLine(job, this, () => this.look())));
    this.table.hidden = jobs.length === 0;
    renewChildren(this.table.tBodies[0], ...jobs.map((job) => tableRow(this.columns, job, { "data-job": job.id })));
    if (jobs.some((job) => job.state === "running" || job.state === "waiting")) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  action(job) {
    if (!this.mayCorrect || job.state === "done") return null;
    const act = job.state === "waiting" || job.state === "running" ? "cancel" : "retry";
    return button(act === "cancel" ? "Cancel" : "Try again", `${act === "cancel" ? "Take back" : "Try again"} ${job.source}`, async () => {
      await this.attempt(() => this.server.post(`/data/jobs/${job.id}/${act}`));
      this.look();
    }, { "data-action": act });
  }

  destroy() {
    clearTimeout(this.timer);
    super.destroy();
  }
}

function isRunning(job) {
  return job.state === "running";
}

export const mount = mounter(Jobs);
