// A line for each job that waits or runs, over the worklist, with a bar and a way to take it back; looked at every second.

import { button, element, renewChildren } from "../page/dom.js";

const LOOK_MS = 1000;

export class JobStrip {
  constructor(page) {
    this.page = page;
    this.host = element("section", { class: "job-strip", "aria-label": "Jobs at work", hidden: true });
    this.wasOpen = 0;
  }

  async look() {
    try {
      const jobs = await this.page.server.json("/data/jobs");
      if (jobs.filter(isOpen).length === this.wasOpen) this.show(jobs);
      else this.page.whenReleased(() => this.show(jobs));
    } catch (error) {
      this.page.say(error.message);
    }
  }

  show(jobs) {
    clearTimeout(this.timer);
    const open = jobs.filter(isOpen);
    this.host.hidden = open.length === 0;
    renewChildren(this.host, ...open.map((job) => jobLine(job, this.page, () => this.look())));
    if (open.length < this.wasOpen) {
      const last = jobs.find((job) => !open.includes(job));
      if (last?.state === "failed") this.page.say(`${last.source} could not be segmented: ${last.reason}`);
      this.page.trigger("renew", Date.now());
    }
    this.wasOpen = open.length;
    if (open.length > 0) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  destroy() {
    clearTimeout(this.timer);
  }
}

function isOpen(job) {
  return job.state === "waiting" || job.state === "running";
}

export function jobLine(job, page, onchange) {
  const at = job.progress;
  const share = at && at.total > 0 ? at.done / at.total : 0;
  return element(
    "div",
    { class: "job-line", "data-job": job.id },
    element("span", { class: "name", text: `${job.source}, ${job.model}` }),
    element("progress", { max: 1, value: share, "aria-label": `How far ${job.source} is` }),
    element("span", { class: "quiet", text: job.state === "waiting" ? "waits" : at ? `${at.stage} ${Math.round(share * 100)} %` : "begins" }),
    page.mayCorrect
      ? button("Cancel", `Take back ${job.source}`, async () => {
          await page.attempt(() => page.server.post(`/data/jobs/${job.id}/cancel`));
          onchange();
        })
      : null,
  );
}
