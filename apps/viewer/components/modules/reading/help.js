// The list of keys, as a dialog.

import { button, element } from "../page/dom.js";
import { KEYS } from "./keys.js";

export function helpDialog(more, onclose) {
  const groups = new Map();
  for (const entry of [...KEYS, ...more]) {
    if (!groups.has(entry.group)) groups.set(entry.group, []);
    groups.get(entry.group).push(entry);
  }
  const columns = [...groups].map(([group, entries]) =>
    element(
      "section",
      {},
      element("h3", { text: group }),
      element(
        "dl",
        {},
        ...entries.flatMap((entry) => [
          element("dt", {}, element("kbd", { text: entry.shown ?? entry.keys.join(" ") })),
          element("dd", { text: entry.words }),
        ]),
      ),
    ),
  );
  const dialog = element(
    "dialog",
    { class: "help", "aria-label": "Keys", onclose },
    element("header", {}, element("h2", { text: "Keys" }), button("Close", "Close (Escape)", () => dialog.close())),
    element("div", { class: "help-columns" }, ...columns),
  );
  return dialog;
}
