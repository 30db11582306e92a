// The measurements of a study: drawn, kept with it, listed in the side panel, gone to and removed.

import { button, element, iconButton, replaceChildren } from "../page/dom.js";
import { KINDS, valuesOf } from "./marks.js";
import { PLANES } from "../picture/volume.js";

const CROSS = "M4 4l8 8M12 4l-8 8";

export class MarksPanel {
  constructor(room) {
    this.room = room;
    this.list = [];
    this.host = element("section", { class: "marks" });
  }

  // Take the marks that are kept with a study; their points come in world millimetres.
  open(kept, grid) {
    this.list = kept.map((mark) => ({
      kind: mark.kind,
      plane: mark.plane,
      depth: PLANES[mark.plane].depth,
      points: mark.points_mm.map((point) => grid.fromWorld(point)),
    }));
    this.update();
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

  goTo(n) {
    const { room } = this;
    const { points, plane } = this.list[n];
    room.setCursor(points[0]);
    room.setActive(room.panes.find((pane) => pane.planeName === plane));
  }

  update() {
    const rows = this.list.map((mark, n) =>
      element(
        "div",
        { class: "label-row", "data-mark": String(n) },
        button(`${KINDS[mark.kind].words}: ${valuesOf(mark, this.room.volume).join(", ")}`, "Go there", () => this.goTo(n), { class: "jump name" }),
        iconButton(CROSS, "Remove this measurement", () => this.remove(n), { class: "icon eye" }),
      ),
    );
    this.host.hidden = rows.length === 0;
    replaceChildren(this.host, element("h2", { text: "Measurements" }), ...rows);
  }
}
