// The unrolled vessel over the graph of its diameters, on one scale in millimetres; a line marks the place looked at.

import { element } from "../page/dom.js";
import { asSheet } from "./picture.js";

const GRAPH_PIXELS = 170;
const LEFT = 44;
const HIGHEST_SHARE = 0.4;
const FONT = "11px system-ui, 'DejaVu Sans', sans-serif";
const KIND_COLOURS = { confident: "#ff9f43", review: "#6fa8dc" };

export class Along {
  constructor(page) {
    this.page = page;
    this.canvas = element("canvas", { class: "along", tabindex: "0", role: "application", "aria-label": "The vessel along its length, over its diameter; arrow keys move along it" });
    const follow = (event) => {
      if (event.type === "pointermove" && event.buttons !== 1) return;
      page.goTo((event.offsetX - LEFT) / this.scale);
    };
    this.canvas.addEventListener("pointerdown", follow);
    this.canvas.addEventListener("pointermove", follow);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
  }

  show(picture) {
    this.picture = picture;
    this.draw();
  }

  draw() {
    const { branch, picture } = { branch: this.page.branch, picture: this.picture };
    const width = this.canvas.clientWidth;
    if (!branch || !picture || width === 0) return;
    const lengthMm = branch.along_mm.at(-1);
    const acrossMm = picture.columns * picture.stepMm;
    // As wide as there is room, unless it would become too high to see the graph under it.
    const least = this.page.isCurved ? 0 : 8;
    this.scale = Math.min((width - LEFT - 8) / lengthMm, Math.max(least, (HIGHEST_SHARE * window.innerHeight) / acrossMm));
    const high = acrossMm * this.scale;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.style.height = `${high + GRAPH_PIXELS}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round((high + GRAPH_PIXELS) * ratio);
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingQuality = "medium";
    context.drawImage(asSheet(picture, this.page.window, true), LEFT, 0, picture.rows * picture.stepMm * this.scale, high);
    this.drawGraph(context, branch, high, lengthMm);
    this.drawMarks(context, high);
  }

  drawGraph(context, branch, top, lengthMm) {
    const style = getComputedStyle(this.canvas);
    const most = Math.max(1, ...branch.diameters_mm) * 1.15;
    const y = (mm) => top + GRAPH_PIXELS - 24 - (mm / most) * (GRAPH_PIXELS - 44);
    const x = (mm) => LEFT + mm * this.scale;
    context.font = FONT;
    context.strokeStyle = style.getPropertyValue("--line");
    context.fillStyle = style.getPropertyValue("--quiet");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const mm of ticks(most)) {
      line(context, [[LEFT, y(mm)], [x(lengthMm), y(mm)]]);
      context.fillText(`${mm} mm`, LEFT - 5, y(mm));
    }
    context.textAlign = "center";
    for (const mm of ticks(lengthMm)) context.fillText(String(mm), x(mm), top + GRAPH_PIXELS - 10);
    context.strokeStyle = "#e06c75";
    context.lineWidth = 2;
    line(context, branch.along_mm.map((mm, n) => [x(mm), y(branch.diameters_mm[n])]));
    context.lineWidth = 1;
    for (const one of this.page.blockagesHere()) {
      const before = one.before_diameter_mm ?? one.reference_diameter_mm;
      const after = one.after_diameter_mm ?? one.reference_diameter_mm;
      context.strokeStyle = style.getPropertyValue("--text");
      context.setLineDash([5, 4]);
      line(context, [[x(one.start_mm), y(before)], [x(one.stop_mm), y(after)]]);
      context.setLineDash([]);
      context.fillStyle = style.getPropertyValue("--text");
      context.fillText(`${one.number}: ${one.diameter_percent.toFixed(0)} %`, x((one.start_mm + one.stop_mm) / 2), top + 12);
    }
  }

  // Where the blockages are, and the place that is looked at.
  drawMarks(context, top) {
    for (const one of this.page.blockagesHere()) {
      context.strokeStyle = KIND_COLOURS[one.confidence];
      context.fillStyle = `${KIND_COLOURS[one.confidence]}22`;
      const [from, to] = [LEFT + one.start_mm * this.scale, LEFT + one.stop_mm * this.scale];
      context.fillRect(from, top, to - from, GRAPH_PIXELS - 24);
      for (const at of [from, to]) line(context, [[at, 0], [at, top + GRAPH_PIXELS - 24]]);
    }
    const at = LEFT + this.page.alongMm * this.scale;
    context.strokeStyle = "#f2e55c";
    line(context, [[at, 0], [at, top + GRAPH_PIXELS - 24]]);
  }

  destroy() {
    this.observer.disconnect();
  }
}

function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], n) => (n === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.stroke();
}

// Four or so round numbers from 0 up to the highest.
function ticks(most) {
  const power = 10 ** Math.floor(Math.log10(most / 2));
  const step = [1, 2, 5, 10].map((n) => n * power).find((one) => most / one <= 5) ?? power * 10;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, n) => Number((n * step).toPrecision(6)));
}
