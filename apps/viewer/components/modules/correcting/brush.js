// Brush and eraser: a disc in the plane or a ball, its radius in millimetres, limited to a range of values if wished.

// A voxel whose centre lies on the rim belongs to the disc, whatever the last digit of the spacing.
const ROUNDING = 1 + 1e-6;

export class BrushTool {
  constructor(room, name, words, key, icon, isErasing) {
    Object.assign(this, { room, name, words, key, icon, isErasing });
    this.follows = true;
    this.needsMask = true;
    this.last = null;
  }

  down(pane, point) {
    if (!this.room.mayEdit()) return;
    this.room.edit.begin();
    this.last = null;
    this.paintTo(pane, point);
  }

  move(pane, point) {
    if (this.room.edit.stroke !== null) this.paintTo(pane, point);
  }

  up() {
    if (this.room.edit.stroke === null) return;
    this.room.edit.end();
    this.last = null;
  }

  // Paint once at the cross-hair: the way to draw without a mouse.
  space(pane) {
    if (!this.room.mayEdit()) return;
    this.room.edit.begin();
    this.dab(pane, this.room.cursor);
    this.room.edit.end();
  }

  // Paint from the last point to this one, close enough that dabs join.
  paintTo(pane, point) {
    const to = pane.voxelAt(point.x, point.y);
    const from = this.last ?? to;
    const spacing = pane.grid.spacingMm;
    const apart = Math.hypot(...to.map((value, axis) => (value - from[axis]) * spacing[axis]));
    const steps = Math.max(1, Math.ceil(apart / Math.max(this.room.brush.radiusMm / 2, Math.min(...spacing) / 2)));
    const boxes = [];
    for (let n = this.last === null ? steps : 1; n <= steps; n += 1) {
      boxes.push(this.dab(pane, from.map((value, axis) => value + ((to[axis] - value) * n) / steps)));
    }
    this.last = to;
    this.room.changedWithin({
      first: [0, 1, 2].map((axis) => Math.min(...boxes.map((box) => box.first[axis]))),
      last: [0, 1, 2].map((axis) => Math.max(...boxes.map((box) => box.last[axis]))),
    });
  }

  // Paint about one place; the box of voxels that was looked at.
  dab(pane, centre) {
    const { room } = this;
    const { brush, mask, volume, edit } = room;
    const { grid } = volume;
    const label = this.isErasing ? 0 : brush.label;
    const spacing = grid.spacingMm;
    const reach = spacing.map((mm, axis) => (axis === pane.plane.depth && !brush.is3d ? 0 : (brush.radiusMm / mm) * ROUNDING));
    const first = centre.map((value, axis) => Math.max(0, Math.ceil(value - Math.max(reach[axis], 0.5))));
    const last = centre.map((value, axis) => Math.min(grid.shape[axis] - 1, Math.floor(value + Math.max(reach[axis], 0.499))));
    const most = brush.radiusMm ** 2 * ROUNDING;
    const middle = grid.clamp(centre);
    const limits = brush.isLimited ? brush.limits.map((value) => (value - volume.intercept) / volume.slope) : null;
    for (let k = first[2]; k <= last[2]; k += 1) {
      for (let j = first[1]; j <= last[1]; j += 1) {
        for (let i = first[0]; i <= last[0]; i += 1) {
          const isMiddle = i === middle[0] && j === middle[1] && k === middle[2];
          const di = (i - centre[0]) * spacing[0] * (reach[0] > 0 ? 1 : 0);
          const dj = (j - centre[1]) * spacing[1] * (reach[1] > 0 ? 1 : 0);
          const dk = (k - centre[2]) * spacing[2] * (reach[2] > 0 ? 1 : 0);
          if (!isMiddle && di * di + dj * dj + dk * dk > most) continue;
          const offset = i + j * grid.strides[1] + k * grid.strides[2];
          if (limits !== null && (volume.data[offset] < limits[0] || volume.data[offset] > limits[1])) continue;
          if (this.isErasing && brush.isOneLabel && mask[offset] !== brush.label) continue;
          if (!this.isErasing && brush.isOnBackground && mask[offset] !== 0 && mask[offset] !== label) continue;
          edit.set(offset, label);
        }
      }
    }
    return { first, last };
  }

  // The ring under the pointer, as large as what would be painted.
  drawOver(context, pane) {
    const { room } = this;
    if (room.tool !== this || room.mask === null) return;
    const at = room.hover?.pane === pane ? room.hover : room.hover ? null : pane === room.active ? pane.screenOf(room.cursor) : null;
    if (at === null) return;
    const radius = Math.max(3, room.brush.radiusMm * pane.view.pixelsPerMm);
    const [r, g, b] = this.isErasing ? [255, 255, 255] : room.colourOf(room.brush.label);
    context.strokeStyle = "rgb(0 0 0 / 0.7)";
    context.lineWidth = 3;
    context.beginPath();
    context.arc(at.x, at.y, radius, 0, Math.PI * 2);
    context.stroke();
    context.strokeStyle = `rgb(${r} ${g} ${b})`;
    context.lineWidth = 1.5;
    context.setLineDash(this.isErasing ? [4, 3] : []);
    context.stroke();
    context.setLineDash([]);
  }
}
