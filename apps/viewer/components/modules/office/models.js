// The models that can be run here: what each is for, where it comes from, what it reached, its card.

import { element, replaceChildren } from "../page/dom.js";
import { mounter, Page } from "./page.js";
import { table } from "./table.js";

const METRICS = {
  dice: "Dice",
  nsd: "NSD",
  hd95_mm: "HD95 (mm)",
  assd_mm: "ASSD (mm)",
  volume_difference_ml: "Volume difference (ml)",
  volume_difference_percent: "Volume difference (%)",
};

export class Models extends Page {
  constructor(parent) {
    super(parent, "models");
    replaceChildren(this.main, element("h1", { text: "Models" }), element("p", { class: "quiet", text: "Loading the models …" }));
  }

  async take() {
    const models = await this.attempt(() => this.server.json("/data/models"));
    if (models !== null) replaceChildren(this.main, element("h1", { text: "Models" }), ...models.map(card));
  }
}

function card(model) {
  if (model.problem) return element("article", { class: "model" }, element("h2", { text: model.name }), element("p", { class: "problem", text: model.problem }));
  const facts = [
    ["For", `${model.task} (${model.modality})`],
    ["Finds", words(model.labels.join(", "))],
    ["Network", model.network],
    ["Trained", `${model.created} on ${model.training_cases} cases of ${model.dataset}${model.licence ? ` (${model.licence})` : ""}`],
    ["From", model.parent_sha256 ? `fine-tuned from ${model.parent_sha256.slice(0, 12)}` : "scratch"],
    ["Identity", model.sha256.slice(0, 16)],
    ["Comes with medseg", model.is_shipped ? "yes" : "no"],
  ];
  return element(
    "article",
    { class: "model", "data-model": model.name },
    element("h2", { text: model.name }, model.is_champion ? element("span", { class: "badge segmented champion", text: "champion" }) : null),
    element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })])),
    model.scores.length > 0 ? element("h3", { text: `Scores on ${model.scored_on}` }) : element("p", { class: "quiet", text: "No scores are kept with it." }),
    model.scores.length > 0 ? scoreTable(model.scores) : null,
    model.card ? element("details", {}, element("summary", { text: "Card" }), element("pre", { class: "card", tabindex: "0", text: model.card })) : null,
  );
}

// A row for each label, a column for each metric: the mean over its 95 % interval.
function scoreTable(scores) {
  const metrics = [...new Set(scores.map((score) => score.metric))];
  const labels = [...new Set(scores.map((score) => score.label))];
  const found = (label, metric) => scores.find((score) => score.label === label && score.metric === metric);
  const columns = metrics.map((metric) => [metric, METRICS[metric] ?? words(metric), { isNumber: true, make: (row) => [element("div", { text: row[metric]?.mean.toFixed(3) ?? "–" }), interval(row[metric])] }]);
  const rows = labels.map((label) => ({ label: words(label), cases: Math.max(...scores.filter((score) => score.label === label).map((score) => score.cases)), ...Object.fromEntries(metrics.map((metric) => [metric, found(label, metric)])) }));
  return element("div", { class: "scores", role: "region", "aria-label": "Scores", tabindex: "0" }, table([["label", "Label"], ...columns, ["cases", "Cases", { isNumber: true }]], rows), element("p", { class: "quiet", text: "Means over the cases, under them their 95 % intervals." }));
}

function interval(score) {
  return score ? element("div", { class: "quiet", text: `${score.interval[0].toFixed(3)} to ${score.interval[1].toFixed(3)}` }) : null;
}

function words(name) {
  return name.replaceAll("_", " ");
}

export const mount = mounter(Models);
