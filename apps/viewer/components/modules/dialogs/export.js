// Take a study out: the formats it can leave in, of the newest saved mask, in one download.

import { button, element } from "../page/dom.js";
import { openDialog } from "./dialog.js";

export async function exportDialog(host, server, study, isDirty) {
  const formats = await server.json(`${study.base}/formats`);
  const boxes = formats.map(({ name, words, why_not: whyNot }) => {
    const input = element("input", { type: "checkbox", value: name, disabled: whyNot !== "" });
    return element("label", { class: "choice" }, input, ` ${words}`, whyNot ? element("span", { class: "quiet", text: ` – ${whyNot}` }) : null);
  });
  const words = element("p", { class: "quiet", role: "status", text: isDirty ? "What you drew and did not save is not in it: save first." : "The newest saved mask, with its findings measured on it. Nothing leaves this machine but into the file." });
  const take = button("Export", "Make the files and download them", async () => {
    const wanted = boxes.map((box) => box.firstChild).filter((input) => input.checked);
    if (wanted.length === 0) {
      words.textContent = "Choose a format.";
      return;
    }
    take.disabled = true;
    words.textContent = "Making the files …";
    try {
      const query = wanted.map((input) => `format=${encodeURIComponent(input.value)}`).join("&");
      const response = await server.request(`${study.base}/export?${query}`);
      const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "export";
      download(await response.blob(), name);
      words.textContent = `${name} was downloaded.`;
    } catch (error) {
      words.textContent = error.message;
    }
    take.disabled = false;
  }, { class: "button main", "data-action": "take" });
  return openDialog(host, "Export", [element("div", { class: "choices" }, ...boxes), words], [take]);
}

function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
