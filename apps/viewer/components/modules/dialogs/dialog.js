// A dialog over the page: a title, what is in it, and buttons; Escape closes it.

import { button, element } from "../page/dom.js";

export function openDialog(host, title, content, actions = []) {
  const dialog = element(
    "dialog",
    { class: "help sheet", "aria-label": title, onclose: () => dialog.remove() },
    element("header", {}, element("h2", { text: title }), button("Close", "Close (Escape)", () => dialog.close())),
    element("div", { class: "sheet-body" }, ...content),
    element("footer", { class: "sheet-actions" }, ...actions),
  );
  // The page's keys are not for the dialog.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  host.append(dialog);
  dialog.showModal();
  return dialog;
}
