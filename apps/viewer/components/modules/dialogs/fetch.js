// Bring in a series from an archive: the studies of a patient, their series, and one of them fetched.

import { button, element, replaceChildren } from "../page/dom.js";
import { arrival as followed, stepWords, takenWords } from "./arrival.js";
import { openDialog } from "./dialog.js";

export function fetchDialog(host, server, archives, ondone) {
  const words = element("p", { class: "quiet", role: "status", text: "Studies are looked up by the ID of the patient in the archive." });
  const archive = element("select", { "aria-label": "Archive" }, ...archives.map((name) => element("option", { value: name, text: name })));
  const patient = element("input", { type: "search", placeholder: "Patient ID", "aria-label": "Patient ID" });
  const date = element("input", { type: "search", placeholder: "Day (20261126)", "aria-label": "Day, such as 20261126" });
  const bar = element("progress", { class: "arriving", max: 1, value: 0, hidden: true, "aria-label": "How far it is" });
  const found = element("div", { class: "archived" });
  let abort = null;
  const ask = (path, content) => server.post(`/data/archives/${path}`, { archive: archive.value, ...content }).then((response) => response.json());

  const find = async () => {
    look.disabled = true;
    words.textContent = "Looking …";
    replaceChildren(found);
    try {
      const { studies, cut_at: cutAt } = await ask("find", { patient_id: patient.value, date: date.value });
      const cut = cutAt === null ? "" : ` The archive lists more than ${cutAt} studies: name a day.`;
      words.textContent = (studies.length === 0 ? "The archive lists no such study." : "Each series becomes a study of the worklist.") + cut;
      replaceChildren(found, ...studies.map((study) => listed(study, fetchSeries)));
    } catch (error) {
      words.textContent = error.message;
    }
    look.disabled = false;
  };
  const fetchSeries = async (study, series, made) => {
    abort = new AbortController();
    const { signal } = abort;
    isFetching(true);
    words.textContent = "Asking the archive for its images …";
    try {
      const { arrival } = await ask("fetch", { study_uid: study.study_uid, series_uid: series.series_uid, name: `${study.date}_${series.description || series.modality}` });
      const taken = await followed(server, arrival, (step) => {
        if (step.total > 0) words.textContent = stepWords(step);
        bar.value = step.total === 0 ? 0 : step.done / step.total;
      }, signal);
      words.textContent = [takenWords(taken), ...taken.refused].join(" ");
      made.dataset.fetched = "";
      ondone();
    } catch (error) {
      words.textContent = signal.aborted ? "The fetch was stopped; nothing was kept." : error.message;
    }
    isFetching(false);
  };
  // One series at a time; one that is here is not fetched again.
  const isFetching = (isIt) => {
    bar.value = 0;
    [bar.hidden, stop.disabled, look.disabled] = [!isIt, !isIt, isIt];
    for (const one of found.querySelectorAll("[data-series]")) one.disabled = isIt || "fetched" in one.dataset;
  };
  const stop = button("Stop", "Stop fetching", () => abort?.abort(), { disabled: true, "data-action": "stop" });
  const look = button("Find", "Look the studies up", find, { class: "button main", "data-action": "find" });
  for (const input of [patient, date]) input.addEventListener("keydown", (event) => event.key === "Enter" && find());
  const dialog = openDialog(host, "Fetch from an archive", [element("div", { class: "page-tools" }, archive, patient, date), words, bar, found], [stop, look]);
  dialog.addEventListener("close", () => abort?.abort());
  patient.focus();
  return dialog;
}

// A study's series, each with a button that fetches it.
function listed(study, onfetch) {
  const about = [study.patient_name.replaceAll("^", " "), study.patient_id, study.date, study.description].filter(Boolean).join("  ·  ");
  const rows = study.series.map((series) => {
    const images = series.instance_count === null ? "" : `${series.instance_count} images`;
    const text = [series.modality, series.description, series.body_part, images].filter(Boolean).join("  ·  ");
    const made = button("Fetch", `Fetch ${text}`, () => onfetch(study, series, made), { "data-series": series.series_uid });
    return element("div", { class: "label-row" }, element("span", { class: "name", text }), made);
  });
  return element("section", {}, element("h3", { text: about }), ...rows);
}
