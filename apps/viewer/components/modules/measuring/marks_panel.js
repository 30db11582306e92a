// The measurements of a study: drawn, kept with it, listed in the side panel, gone to and removed.

import { button, element, iconButton, replaceChildren } from "../page/dom.js";
import { KINDS, valuesOf } from "./marks.js";
import { PLANES } from "../picture/volume.js";

const CROSS = "M4 4l8 8M12 4l-8 8";

export class MarksPanel {
  constructor(room) {
    this.room = room;
    this.list = [];
    this.others = [];
    this.host = element("section", { class: "marks" });
  }

  // Take the marks that are kept with a study, this reader's and others'; their points come in world millimetres.
  open(kept, others, grid) {
    [this.list, this.others] = [kept, others].map((marks) =>
      marks.map((mark) => ({
        reader: mark.reader,
        kind: mark.kind,
        plane: mark.plane,
        depth: PLANES[mark.plane].depth,
        points: mark.points_mm.map((point) => grid.fromWorld(point)),
      })),
    );
    this.update();
  }

  // All that are drawn: the reports of the study hold them too.
  get shown() {
    return [...this.list, ...this.others];
  }

  add(mark) {
    this.change([...this.list, mark]);
  }

  remove(n) {
    this.change(this.list.filter((_, at) => at !== n));
  }

  removeLast() {
    this.remove(this.list.length - 1);
  }

  change(list) {
    this.list = list;
    this.update();
    this.room.redraw();
    const world = (point) => this.room.volume.grid.world(point);
    this.room.review.keepMarks(list.map(({ kind, plane, points }) => ({ kind, plane, points_mm: points.map(world) })));
  }

  goTo({ points, plane }) {
    const { room } = this;
    room.setCursor(points[0]);
    room.setActive(room.panes.find((pane) => pane.planeName === plane));
  }

  update() {
    const own = this.list.map((mark, n) =>
      element("div", { class: "label-row", "data-mark": String(n) }, this.jump(mark), iconButton(CROSS, "Remove this measurement", () => this.remove(n), { class: "icon eye" })),
    );
    const others = this.others.map((mark) => element("div", { class: "label-row", "data-mark-of": mark.reader }, this.jump(mark), element("span", { class: "quiet", text: mark.reader })));
    const rows = [...own, ...others];
    this.host.hidden = rows.length === 0;
    replaceChildren(this.host, element("h2", { text: "Measurements" }), ...rows);
  }

  jump(mark) {
    return button(`${KINDS[mark.kind].words}: ${valuesOf(mark, this.room.volume).join(", ")}`, "Go there", () => this.goTo(mark), { class: "jump name" });
  }
}
