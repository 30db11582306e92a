// Mouse, pen and touch over a pane.

// Pixels scrolled that are a step, as of a smooth pad, and those of one turn of a wheel.
const NOTCH = 50;
const TURN = 100;
const ZOOM_PER_NOTCH = 1.12;

export function listen(pane) {
  const { host, room } = pane;
  const pointOf = (event) => {
    const box = pane.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top, event };
  };
  let held = null;
  let scrolled = 0;

  host.addEventListener("pointerdown", (event) => {
    if (!room.isOpen) return;
    room.setActive(pane);
    host.focus({ preventScroll: true });
    held = event.button === 2 ? room.tools.window : event.button === 1 ? room.tools.pan : room.tool;
    pane.host.setPointerCapture(event.pointerId);
    held.down(pane, pointOf(event));
    event.preventDefault();
  });
  host.addEventListener("pointermove", (event) => {
    if (!room.isOpen) return;
    const point = pointOf(event);
    const hasCome = room.hover?.pane !== pane;
    room.hover = { pane, ...point };
    if (held !== null) held.move(pane, point);
    room.redraw(!room.tool.follows ? [] : hasCome ? room.panes : [pane]);
  });
  const release = (event) => {
    if (held === null) return;
    held.up(pane, pointOf(event));
    held = null;
  };
  host.addEventListener("pointerup", release);
  host.addEventListener("pointercancel", release);
  host.addEventListener("pointerleave", () => {
    room.hover = null;
    room.redraw(room.tool.follows ? room.panes : []);
  });
  host.addEventListener("contextmenu", (event) => event.preventDefault());
  host.addEventListener("dblclick", () => room.maximise(room.maximised === pane.planeName ? null : pane.planeName));
  host.addEventListener("focus", () => room.setActive(pane));
  host.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (!room.isOpen) return;
      room.setActive(pane);
      scrolled += event.deltaY;
      if (Math.abs(scrolled) < NOTCH) return;
      const up = scrolled < 0;
      // A browser at work hands over several turns of the wheel as one.
      const turns = Math.max(1, Math.round(Math.abs(scrolled) / TURN));
      scrolled = 0;
      if (event.ctrlKey) {
        const { x, y } = pointOf(event);
        pane.view.zoomAt(up ? ZOOM_PER_NOTCH : 1 / ZOOM_PER_NOTCH, x, y, pane.width, pane.height);
        room.redraw([pane]);
      } else {
        room.step(up ? turns : -turns, pane);
      }
    },
    { passive: false },
  );
}
