// The slider at a pane's right edge: where in the stack of slices the pane stands, and a hold to move it by.

import { element } from "../page/dom.js";

// An input whose top is the last slice, as the wheel and the up key have it; `show` brings it in line with the pane.
export function sliceSlider(pane) {
  const { room } = pane;
  const slider = element("input", { type: "range", class: "slice-slider", min: "1", max: "1", step: "1", "aria-label": `${capitalised(pane.planeName)} slice` });
  slider.addEventListener("input", () => {
    if (room.isOpen) room.step(Number(slider.value) - 1 - pane.slice, pane);
  });
  slider.addEventListener("focus", () => room.setActive(pane));
  // The wheel may have made another pane the active one since; a key pressed here means this one.
  slider.addEventListener("keydown", () => room.setActive(pane));
  // The pane would take the pointer for its tool.
  for (const kind of ["pointerdown", "pointermove", "pointerup", "dblclick"]) slider.addEventListener(kind, (event) => event.stopPropagation());
  slider.addEventListener("pointerenter", () => {
    room.hover = null;
    if (room.isOpen) room.redraw();
  });
  let shown = "";
  const show = () => {
    const { slices } = pane.picture;
    const words = `${pane.slice + 1} of ${slices}`;
    if (words === shown) return;
    shown = words;
    slider.max = String(slices);
    slider.value = String(pane.slice + 1);
    slider.disabled = slices === 1;
    slider.setAttribute("aria-valuetext", words);
    pane.host.setAttribute("aria-label", `${pane.planeName} plane, slice ${words}`);
  };
  return { host: slider, show };
}

function capitalised(word) {
  return word[0].toUpperCase() + word.slice(1);
}
