// What the left button does. A tool answers down, move and up with the point in the pane: {x, y, event}.
// Whatever the tool, the right button drags the window and the middle button moves the picture.

import { dragged } from "./windows.js";

export class CrosshairTool {
  name = "crosshair";
  words = "Cross-hair";
  key = "c";
  icon = "M8 1v5M8 10v5M1 8h5M10 8h5";

  down(pane, point) {
    this.move(pane, point);
  }

  move(pane, point) {
    const index = pane.grid.clamp(pane.voxelAt(point.x, point.y));
    pane.room.setCursor(index);
  }

  up() {}
}

export class WindowTool {
  name = "window";
  words = "Window and level";
  key = "w";
  icon = "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 2v12M8 5h4M8 8h6M8 11h4";

  down(pane, point) {
    this.start = { x: point.x, y: point.y, window: pane.room.window };
  }

  move(pane, point) {
    if (!this.start) return;
    const { room } = pane;
    room.setWindow(dragged(room.window, this.start.window, point.x - this.start.x, point.y - this.start.y, room.volume.unit));
  }

  up() {
    this.start = null;
  }
}

export class PanTool {
  name = "pan";
  words = "Move the picture (zoom: Ctrl + wheel)";
  key = "h";
  icon = "M8 1v14M1 8h14M8 1L6 3M8 1l2 2M8 15l-2-2M8 15l2-2M1 8l2-2M1 8l2 2M15 8l-2-2M15 8l-2 2";

  down(pane, point) {
    this.last = point;
  }

  move(pane, point) {
    if (!this.last) return;
    pane.view.panX += point.x - this.last.x;
    pane.view.panY += point.y - this.last.y;
    this.last = point;
    pane.room.redraw([pane]);
  }

  up() {
    this.last = null;
  }
}
