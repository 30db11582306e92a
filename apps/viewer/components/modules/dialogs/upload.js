// Bring a study in: a DICOM folder, a zip of one, or image files. Sent file by file, then read whole by the server.

import { button, element } from "../page/dom.js";
import { openDialog } from "./dialog.js";

const FILES_AT_ONCE = 4;

export function uploadDialog(host, server, ondone) {
  const files = element("input", { type: "file", multiple: true, "aria-label": "Files or a zip" });
  const folder = element("input", { type: "file", webkitdirectory: true, "aria-label": "A DICOM folder" });
  const bar = element("progress", { class: "loading", max: 1, value: 0, hidden: true, "aria-label": "Upload" });
  const words = element("p", { class: "quiet", role: "status", text: "DICOM, NIfTI, NRRD, MetaImage, or a zip of them; up to 4 GiB. Each scan is read whole before it is listed." });
  const refused = element("ul", { class: "refused" });
  const abort = new AbortController();
  const send = async (chosen) => {
    if (chosen.length === 0) return;
    for (const input of [files, folder]) input.disabled = true;
    bar.hidden = false;
    try {
      const taken = await upload(server, chosen, abort.signal, (share) => {
        bar.value = share;
        words.textContent = share < 1 ? `Sending ${chosen.length === 1 ? chosen[0].name : `${chosen.length} files`} …` : "Reading what arrived …";
      });
      words.textContent = `${taken.scans.length === 1 ? "One scan was" : `${taken.scans.length} scans were`} taken in.`;
      refused.replaceChildren(...taken.refused.map((text) => element("li", { text })));
      ondone();
    } catch (error) {
      words.textContent = abort.signal.aborted ? "The upload was stopped; nothing was kept." : error.message;
    }
    bar.hidden = true;
    for (const input of [files, folder]) [input.disabled, input.value] = [false, ""];
  };
  files.addEventListener("change", () => send([...files.files]));
  folder.addEventListener("change", () => send([...folder.files]));
  const stop = button("Stop", "Stop the upload", () => abort.abort());
  const rows = [["Files or a zip", files], ["A DICOM folder", folder]].map(([text, input]) => element("label", { class: "pick" }, element("span", { text }), input));
  const dialog = openDialog(host, "Bring in a study", [...rows, bar, words, refused], [stop]);
  dialog.addEventListener("close", () => abort.abort());
  return dialog;
}

async function upload(server, files, signal, onShare) {
  const { upload: id } = await server.json("/data/uploads", { method: "POST", body: "{}" });
  const total = files.reduce((sum, file) => sum + file.size, 0);
  let sent = 0;
  let next = 0;
  onShare(0);
  const worker = async () => {
    while (next < files.length) {
      const file = files[next];
      next += 1;
      await server.request(`/data/uploads/${id}/files?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file, signal });
      sent += file.size;
      onShare(total === 0 ? 1 : sent / total);
    }
  };
  try {
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker));
    const first = files[0].webkitRelativePath.split("/")[0] || files[0].name;
    return await server.json(`/data/uploads/${id}/done?name=${encodeURIComponent(first)}`, { method: "POST", body: "{}", signal });
  } catch (error) {
    server.request(`/data/uploads/${id}`, { method: "DELETE" }).catch(() => {});
    throw error;
  }
}
