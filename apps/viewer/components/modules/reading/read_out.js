// What is said of a place: in the line below the pictures, and in their corners.

import { element } from "../page/dom.js";
import { written } from "../picture/windows.js";

const FIELDS = {
  where: "Position in the patient",
  voxel: "Voxel of the scan's own grid (i, j, k)",
  value: "Value of the voxel",
  label: "Label in the mask",
};

export function readOutFields() {
  return Object.fromEntries(
    Object.entries(FIELDS).map(([name, title]) => [name, element("span", { class: `field ${name}`, title, "data-read": name })]),
  );
}

// Position, value and label under the pointer, or else under the cross-hair.
export function readOut(room) {
  const fields = room.readOutText;
  if (!fields) return;
  let index = room.cursor;
  if (room.hover) {
    const under = room.hover.pane.voxelAt(room.hover.x, room.hover.y).map(Math.round);
    if (room.volume.grid.contains(under)) index = under;
  }
  const [x, y, z] = room.volume.grid.world(index);
  const side = (value, plus, minus) => `${value >= 0 ? plus : minus} ${Math.abs(value).toFixed(1)}`;
  const label = room.mask === null ? null : room.labels.get(room.mask[room.volume.grid.offset(index)]);
  say(fields.where, `${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm`);
  say(fields.voxel, `voxel ${room.study.toOwn(index).join(", ")}`);
  say(fields.value, withUnit(room.volume.value(index), room.volume.unit));
  say(fields.label, label ? label.name : "–");
}

// Text that is there already is left alone: the page is then not laid out anew.
function say(field, text) {
  if (field.textContent !== text) field.textContent = text;
}

export function withUnit(value, unit) {
  return `${written(value, unit)}${unit === "arbitrary" ? "" : ` ${unit}`}`;
}

export function cornerTexts(room, pane) {
  const { study, volume } = room;
  const isMain = pane.planeName === (room.maximised ?? "axial");
  const slab = room.slab.mode === "none" ? [] : [`${room.slab.mode === "mean" ? "mean" : room.slab.mode === "mip" ? "MIP" : "MinIP"} ${room.slab.thicknessMm} mm`];
  return {
    topLeft: [pane.planeName.toUpperCase(), `${pane.slice + 1} / ${pane.picture.slices}`, ...slab],
    topRight: isMain ? study.corner : [],
    bottomLeft: [
      `W ${written(room.window.width, volume.unit)}  L ${written(room.window.centre, volume.unit)}`,
      `${Math.round(pane.view.zoom * 100)} %`,
    ],
  };
}
