// Grey windows on keys. CT presets in HU; other images by what share of their own range is shown.

const CT_PRESETS = [
  { key: "1", name: "Soft tissue", centre: 40, width: 400 },
  { key: "2", name: "Lung", centre: -600, width: 1500 },
  { key: "3", name: "Bone", centre: 480, width: 2500 },
  { key: "4", name: "Brain", centre: 40, width: 80 },
  { key: "5", name: "Angio", centre: 300, width: 600 },
];

// The presets of a study: the window it is first shown in on key 0, then those of its kind.
export function presets(unit, first) {
  const opening = { key: "0", name: "As opened", ...first };
  if (unit === "HU") return [opening, ...CT_PRESETS];
  const bottom = first.centre - first.width / 2;
  const share = (name, key, from, to) => ({
    key,
    name,
    centre: bottom + (first.width * (from + to)) / 2,
    width: first.width * (to - from),
  });
  return [opening, share("Darker half", "1", 0, 0.5), share("Brighter half", "2", 0.5, 1), share("Wide", "3", 0, 2)];
}

// The window after a drag of (dx, dy) screen pixels: right widens, down brightens, as on clinical workstations.
export function dragged(window, start, dx, dy, unit) {
  const step = unit === "HU" ? Math.max(1, start.width / 250) : start.width / 250;
  const least = unit === "HU" ? 1 : start.width / 1000;
  return { centre: start.centre + dy * step * 0.5 * -1, width: Math.max(least, start.width + dx * step) };
}

export function written(value, unit) {
  if (unit === "HU" || Math.abs(value) >= 100) return String(Math.round(value));
  return value.toPrecision(3);
}
