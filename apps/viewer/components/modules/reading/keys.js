// Every key and what it does, as one list: the handler and the help both read it.

const PAGE = 10;
const ZOOM_STEP = 1.25;

const letter = (key, words, run) => ({ keys: [key], words, run });

export const KEYS = [
  { group: "Tools", shown: "c", keys: [], words: "cross-hair" },
  { group: "Tools", shown: "w", keys: [], words: "window and level" },
  { group: "Tools", shown: "h", keys: [], words: "move the picture" },
  { group: "Tools", shown: "6 7 8 9", keys: [], words: "length, two diameters, angle, ellipse" },
  { group: "Tools", shown: "Delete", keys: ["Delete"], words: "remove the last measurement", run: (room) => room.marks.removeLast() },
  { group: "Slices", shown: "↑ ↓, wheel, slider", keys: ["ArrowUp", "ArrowDown"], words: "one slice", run: (room, key) => room.step(key === "ArrowUp" ? 1 : -1) },
  { group: "Slices", shown: "Page ↑ ↓", keys: ["PageUp", "PageDown"], words: `${PAGE} slices`, run: (room, key) => room.step(key === "PageUp" ? PAGE : -PAGE) },
  { group: "Slices", shown: "Home, End", keys: ["Home", "End"], words: "first and last slice", run: (room, key) => room.step(key === "End" ? Infinity : -Infinity) },
  { group: "Slices", shown: "Shift + arrows", keys: [], words: "move the cross-hair by a voxel" },
  { group: "Slices", shown: "Space", keys: [" "], words: "play through the slices", run: (room) => room.space() },
  { group: "Panes", shown: "a", keys: ["a"], words: "next plane", run: (room) => room.nextPane() },
  { group: "Panes", shown: "Enter, double click", keys: ["Enter"], words: "maximise the plane, and back", run: (room) => room.maximise(room.maximised === null ? room.active.planeName : null) },
  { group: "Panes", shown: "+ −, Ctrl + wheel", keys: ["+", "=", "-"], words: "zoom", run: (room, key) => room.zoom(key === "-" ? 1 / ZOOM_STEP : ZOOM_STEP) },
  { group: "Panes", shown: "r", keys: ["r"], words: "reset zoom and position", run: (room) => room.resetViews() },
  { group: "Grey", shown: "0 – 5", keys: ["0", "1", "2", "3", "4", "5"], words: "window presets", run: (room, key) => room.applyPreset(key) },
  { group: "Grey", shown: "right button drag", keys: [], words: "width (across) and level (up, down)" },
  { group: "Grey", ...letter("i", "invert", (room) => room.toggle("isInverted")) },
  { group: "Grey", ...letter("s", "smooth or plain voxels", (room) => room.toggle("isSmooth")) },
  { group: "Grey", ...letter("z", "slab: none, MIP, MinIP, mean", (room) => room.nextSlab()) },
  { group: "Mask", ...letter("m", "mask on and off", (room) => room.toggle("isMaskShown")) },
  { group: "Mask", ...letter("o", "outline on and off", (room) => room.toggle("hasOutline")) },
  { group: "Mask", shown: ", .", keys: [",", "."], words: "opacity down and up", run: (room, key) => room.setOpacity(room.opacity + (key === "." ? 0.1 : -0.1)) },
  { group: "Findings", shown: "n, Shift + n", keys: ["n", "N"], words: "next and previous finding", run: (room, key) => room.nextFinding(key === "n" ? 1 : -1) },
  { group: "View", ...letter("x", "cross-hair on and off", (room) => room.toggle("isCrosshairShown")) },
  { group: "View", ...letter("t", "corner texts on and off", (room) => room.toggle("areCornersShown")) },
  { group: "View", ...letter("l", "dark and light", (room) => room.toggleTheme()) },
  { group: "View", ...letter("v", "three-dimensional view on and off", (room) => room.toggle3d()) },
  { group: "View", shown: "?", keys: ["?"], words: "this list", run: (room) => room.toggleHelp() },
  { group: "View", shown: "Escape", keys: ["Escape"], words: "close, leave a field, or back to the cross-hair", run: (room) => room.escape() },
  { group: "Studies", shown: "Shift + s", keys: ["S"], words: "segment this scan", run: (room) => room.segment() },
  { group: "Studies", shown: "Shift + e", keys: ["E"], words: "export", run: (room) => room.export() },
  { group: "Studies", ...letter("q", "back to the worklist", (room) => room.leave()) },
];

const TYPED_IN = ["INPUT", "SELECT", "TEXTAREA"];

// Run what the pressed key stands for; true when it stood for something.
export function press(room, event, more = []) {
  const target = event.composedPath()[0];
  const isCommand = event.ctrlKey || event.metaKey;
  const isTyping = TYPED_IN.includes(target?.tagName) && !["range", "checkbox"].includes(target.type);
  if (isTyping && event.key === "Escape") {
    target.blur();
    return true;
  }
  if (isTyping && !(isCommand && event.key === "s")) return false;
  if (target?.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return false;
  if (target?.type === "checkbox" && event.key === " ") return false;
  if (target?.type === "range" && !target.matches(".slice-slider") && event.key.startsWith("Arrow")) return false;
  if (event.shiftKey && event.key.startsWith("Arrow")) {
    room.nudge(event.key, isCommand ? PAGE : 1);
    return true;
  }
  const tool = Object.values(room.tools).find((one) => one.key === event.key && (room.study.mask || !one.needsMask));
  if (tool !== undefined && !isCommand && !event.altKey) {
    room.setTool(tool.name);
    return true;
  }
  const found = [...more, ...KEYS].find((entry) => entry.keys.includes(event.key) && Boolean(entry.isCommand) === isCommand && !event.altKey);
  if (found === undefined) return false;
  found.run(room, event.key, event);
  return true;
}
