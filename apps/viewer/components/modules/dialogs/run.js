// Have a study ({id, modality}) segmented: choose a model, queue the job. It goes on when the page is closed.

import { button, element } from "../page/dom.js";
import { openDialog } from "./dialog.js";

export async function runDialog(host, server, study, onqueued) {
  const models = await server.json("/data/models");
  const words = element("p", { class: "quiet", role: "status", text: "The job goes on when this page is closed. Its result appears in the worklist." });
  const choice = element("select", { "aria-label": "Model", onchange: () => describe() });
  for (const model of models) choice.append(element("option", { value: model.name, text: model.problem ? `${model.name} (cannot be run)` : `${model.name}: ${model.task}`, disabled: model.problem !== "" }));
  const about = element("div", { class: "quiet" });
  const doubt = element("p", { class: "problem", role: "alert", hidden: true });
  const describe = () => {
    const model = models.find((one) => one.name === choice.value);
    about.textContent = model ? `For ${model.modality}. Finds ${model.labels.join(", ").replaceAll("_", " ")}. Identity ${model.sha256.slice(0, 8)}.` : "There is no model here. Start the viewer with --models FOLDER.";
    doubt.hidden = !model || !study.modality || model.modality === study.modality;
    doubt.textContent = doubt.hidden ? "" : `This scan is ${study.modality}, and the model is for ${model.modality}.`;
  };
  describe();
  const start = button("Segment", "Queue the job", async () => {
    start.disabled = true;
    try {
      await server.post("/data/jobs", { study: study.id, model: choice.value });
      dialog.close();
      onqueued();
    } catch (error) {
      words.textContent = error.message;
      start.disabled = false;
    }
  }, { class: "button main", "data-action": "start" });
  start.disabled = models.length === 0;
  const dialog = openDialog(host, "Segment this scan", [choice, about, doubt, words], [start]);
  choice.focus();
  return dialog;
}
