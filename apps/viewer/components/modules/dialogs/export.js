// Take a study out: the formats it can leave in, of the newest saved mask, in one download.

import { button, element } from "../page/dom.js";
import { openDialog } from "./dialog.js";

export async function exportDialog(host, server, study, isDirty, maySend) {
  const formats = await server.json(`${study.base}/formats`);
  const known = maySend ? await server.json("/data/archives") : { archives: [], formats: [] };
  const boxes = formats.map(({ name, words, why_not: whyNot }) => {
    const input = element("input", { type: "checkbox", value: name, disabled: whyNot !== "" });
    return element("label", { class: "choice" }, input, ` ${words}`, whyNot ? element("span", { class: "quiet", text: ` – ${whyNot}` }) : null);
  });
  const words = element("p", { class: "quiet", role: "status", text: isDirty ? "What you drew and did not save is not in it: save first." : "The newest saved mask, with its findings measured on it. Nothing leaves this machine but into the file." });
  const wanted = () => boxes.map((box) => box.firstChild).filter((input) => input.checked).map((input) => input.value);
  const take = button("Export", "Make the files and download them", async () => {
    if (wanted().length === 0) {
      words.textContent = "Choose a format.";
      return;
    }
    take.disabled = true;
    words.textContent = "Making the files …";
    try {
      const query = wanted().map((name) => `format=${encodeURIComponent(name)}`).join("&");
      const response = await server.request(`${study.base}/export?${query}`);
      const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "export";
      download(await response.blob(), name);
      words.textContent = `${name} was downloaded.`;
    } catch (error) {
      words.textContent = error.message;
    }
    take.disabled = false;
  }, { class: "button main", "data-action": "take" });
  return openDialog(host, "Export", [element("div", { class: "choices" }, ...boxes), words], [...sending(server, study, known, wanted, words), take]);
}

// Where there is an archive: the choice of it, and the button that stores the chosen DICOM objects in it.
function sending(server, study, { archives, formats }, wanted, words) {
  if (archives.length === 0) return [];
  const choice = element("select", { "aria-label": "Archive" }, ...archives.map((name) => element("option", { value: name, text: name })));
  const send = button("Send to the archive", "Store the chosen DICOM objects there", async () => {
    const chosen = wanted().filter((name) => formats.includes(name));
    if (chosen.length === 0) {
      words.textContent = "Choose a DICOM format: an archive takes nothing else.";
      return;
    }
    send.disabled = true;
    words.textContent = "Making the objects and storing them …";
    try {
      const { stored, had } = await (await server.post(`${study.base}/send`, { archive: choice.value, formats: chosen })).json();
      words.textContent = `${stored === 1 ? "One object is" : `${stored} objects are`} now in ${choice.value}${had > 0 ? `; ${had} it had already` : ""}.`;
    } catch (error) {
      words.textContent = error.message;
    }
    send.disabled = false;
  }, { "data-action": "send" });
  return [choice, send];
}

function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
