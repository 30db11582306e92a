// Where Streamlit meets the reading room. Streamlit calls mount again on every change of data or theme; the room stays.

import { element } from "./page/dom.js";
import { Room } from "./reading/room.js";
import { Triggers } from "./page/triggers.js";

const rooms = new WeakMap();

export function mount(component, assets) {
  const { parentElement, data } = component;
  let kept = rooms.get(parentElement);
  if (kept === undefined) {
    parentElement.append(element("link", { rel: "stylesheet", href: `${assets}/style.css` }), element("link", { rel: "stylesheet", href: `${assets}/office/office.css` }));
    const page = new Triggers();
    kept = { page, room: new Room(parentElement, page) };
    rooms.set(parentElement, kept);
  }
  kept.page.set = (name, value) => component.setTriggerValue(name, value);
  kept.room.update({ ...data, study: withOwnIndex(data.study) });
  return () => {
    // Also called before a new mount on the same element: only what has left the page is taken down.
    setTimeout(() => {
      const host = parentElement.host ?? parentElement;
      if (host.isConnected) return;
      kept.room.destroy();
      rooms.delete(parentElement);
    });
  };
}

// A voxel in display order, as the index (i, j, k) of the scan's own grid.
function withOwnIndex(study) {
  const { axes, flips, own_shape: shape, step } = study.scan;
  return {
    ...study,
    toOwn: (index) => {
      const own = [0, 0, 0];
      axes.forEach((axis, n) => {
        const whole = index[n] * step[n];
        own[axis] = flips[n] ? shape[n] - 1 - whole : whole;
      });
      return own;
    },
  };
}
