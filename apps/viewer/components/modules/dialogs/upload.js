// Bring a study in: a DICOM folder, a zip of one, or image files. Sent file by file, then read whole by the server.

import { button, element } from "../page/dom.js";
import { arrival, stepWords, takenWords } from "./arrival.js";
import { openDialog } from "./dialog.js";

const FILES_AT_ONCE = 4;

export function uploadDialog(host, server, ondone) {
  const files = element("input", { type: "file", multiple: true, "aria-label": "Files or a zip" });
  const folder = element("input", { type: "file", webkitdirectory: true, "aria-label": "A DICOM folder" });
  const bar = element("progress", { class: "arriving", max: 1, value: 0, hidden: true, "aria-label": "How far it is" });
  const words = element("p", { class: "quiet", role: "status", text: "DICOM, NIfTI, NRRD, MetaImage, or a zip of them; up to 4 GiB. Each scan is read whole before it is listed." });
  const refused = element("ul", { class: "refused" });
  let abort = new AbortController();
  const show = (text, share) => {
    words.textContent = text;
    bar.value = share;
  };
  const send = async (chosen) => {
    if (chosen.length === 0) return;
    abort = new AbortController();
    const { signal } = abort;
    for (const input of [files, folder]) input.disabled = true;
    [bar.hidden, stop.disabled] = [false, false];
    try {
      const id = await upload(server, chosen, signal, show);
      const taken = await arrival(server, id, (step) => show(stepWords(step), step.total === 0 ? 0 : step.done / step.total), signal);
      words.textContent = takenWords(taken);
      refused.replaceChildren(...taken.refused.map((text) => element("li", { text })));
      ondone();
    } catch (error) {
      words.textContent = signal.aborted ? "The upload was stopped; nothing was kept." : error.message;
    }
    [bar.hidden, stop.disabled] = [true, true];
    for (const input of [files, folder]) [input.disabled, input.value] = [false, ""];
  };
  files.addEventListener("change", () => send([...files.files]));
  folder.addEventListener("change", () => send([...folder.files]));
  const stop = button("Stop", "Stop the upload", () => abort.abort(), { disabled: true, "data-action": "stop" });
  const rows = [["Files or a zip", files], ["A DICOM folder", folder]].map(([text, input]) => element("label", { class: "pick" }, element("span", { text }), input));
  const dialog = openDialog(host, "Bring in a study", [...rows, bar, words, refused], [stop]);
  dialog.addEventListener("close", () => abort.abort());
  files.focus();
  return dialog;
}

// Send the files; the id of the arrival that follows.
async function upload(server, files, signal, show) {
  const { upload: id } = await server.json("/data/uploads", { method: "POST", body: "{}" });
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const sent = new Map();
  let [next, whole] = [0, 0];
  const tell = () => {
    const bytes = [...sent.values()].reduce((sum, size) => sum + size, 0);
    show(files.length === 1 ? `Sending ${files[0].name}: ${megabytes(bytes)} of ${megabytes(total)} …` : `Sent ${whole} of ${files.length} files …`, total === 0 ? 1 : bytes / total);
  };
  const worker = async () => {
    while (next < files.length) {
      const file = files[next];
      next += 1;
      await server.send(`/data/uploads/${id}/files?name=${encodeURIComponent(file.name)}`, file, signal, (bytes) => {
        sent.set(file, bytes);
        tell();
      });
      whole += 1;
      tell();
    }
  };
  tell();
  try {
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker));
    const first = files[0].webkitRelativePath.split("/")[0] || files[0].name;
    // Not aborted: the arrival begins whether its id is heard or not, and only its id stops it.
    return (await server.json(`/data/uploads/${id}/done?name=${encodeURIComponent(first)}`, { method: "POST", body: "{}" })).arrival;
  } catch (error) {
    server.request(`/data/uploads/${id}`, { method: "DELETE" }).catch(() => {});
    throw error;
  }
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
