// How reviewing goes: how much is decided and how, how long it takes, how much readers change, over time.

import { element, replaceChildren } from "../page/dom.js";
import { barChart, lineChart } from "./charts.js";
import { mounter, Page } from "./page.js";

export class Dashboard extends Page {
  constructor(parent) {
    super(parent, "dashboard");
  }

  take({ numbers }) {
    const { totals, weeks, alerts } = numbers;
    const tiles = [
      ["Studies", String(totals.studies)],
      ["Decided", `${totals.decided} of ${totals.segmented}`],
      ["Accepted", share(totals.accepted, totals.decided)],
      ["Corrected", share(totals.corrected, totals.segmented)],
      ["Mask to verdict, median", hours(totals.turnaround_h)],
      ["Time drawn, median", totals.drawn_s === null ? "–" : `${Math.round(totals.drawn_s)} s`],
      ["Dice to correction, median", totals.dice === null ? "–" : totals.dice.toFixed(3)],
    ];
    const charts = [
      barChart("Verdicts a week", weeks.map((week) => ({ name: week.week, parts: [week.accepted, week.rejected] })), ["accepted", "rejected"]),
      lineChart("Share accepted", weeks.map((week) => ({ name: week.week, value: week.accepted + week.rejected === 0 ? null : week.accepted / (week.accepted + week.rejected) })), [0, 1]),
      lineChart("Dice of mask and correction (falls as the model drifts)", weeks.map((week) => ({ name: week.week, value: week.dice })), [0, 1]),
      lineChart("Hours from mask to verdict, median", weeks.map((week) => ({ name: week.week, value: week.turnaround_h })), null),
    ];
    replaceChildren(
      this.main,
      element("h1", { text: "Dashboard" }),
      element("dl", { class: "tiles" }, ...tiles.map(([name, value]) => element("div", {}, element("dt", { text: name }), element("dd", { text: value })))),
      ...alerts.map((sentence) => element("p", { class: "problem", role: "alert", text: sentence })),
      weeks.length === 0 ? element("p", { class: "quiet", text: "Nothing was decided yet." }) : element("div", { class: "charts" }, ...charts),
    );
  }
}

function share(part, whole) {
  return whole === 0 ? "–" : `${Math.round((100 * part) / whole)} % (${part})`;
}

function hours(value) {
  if (value === null) return "–";
  return value < 1 ? `${Math.round(value * 60)} min` : value < 48 ? `${value.toFixed(1)} h` : `${(value / 24).toFixed(1)} days`;
}

export const mount = mounter(Dashboard);
