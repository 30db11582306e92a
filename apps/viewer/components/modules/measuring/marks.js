// Measurements by hand: length, two diameters, angle, and the values within an ellipse. Points are voxel positions
// (fractional) in display order; they are kept with the study in world millimetres.

// A voxel whose centre lies on the rim is inside, whatever the last digit of its place in the world.
const ROUNDING = 1 + 1e-6;

export const KINDS = {
  length: { words: "Length", points: 2 },
  diameters: { words: "Two diameters", points: 4 },
  angle: { words: "Angle", points: 3 },
  roi: { words: "Ellipse", points: 2 },
};

// What a mark comes to, as lines of text, from its points and the scan.
export function valuesOf(mark, volume) {
  const world = mark.points.map((point) => volume.grid.world(point));
  if (mark.kind === "length") return [`${apart(world[0], world[1]).toFixed(1)} mm`];
  if (mark.kind === "diameters") {
    const both = [apart(world[0], world[1]), apart(world[2], world[3])].sort((a, b) => b - a);
    return [`${both[0].toFixed(1)} × ${both[1].toFixed(1)} mm`];
  }
  if (mark.kind === "angle") return [`${angle(world).toFixed(1)}°`];
  return ellipse(mark, volume);
}

function apart(a, b) {
  return Math.hypot(...a.map((value, axis) => value - b[axis]));
}

// The angle in degrees at the second of three points.
export function angle([a, vertex, b]) {
  const one = a.map((value, axis) => value - vertex[axis]);
  const other = b.map((value, axis) => value - vertex[axis]);
  const dot = one.reduce((sum, value, axis) => sum + value * other[axis], 0);
  return (Math.acos(Math.min(1, Math.max(-1, dot / (Math.hypot(...one) * Math.hypot(...other))))) * 180) / Math.PI;
}

// Mean, standard deviation (n - 1), extremes and area of the voxels whose centres lie in the ellipse between two corners.
function ellipse(mark, volume) {
  const { grid } = volume;
  const axes = [0, 1, 2].filter((axis) => axis !== mark.depth);
  const middle = axes.map((axis) => (mark.points[0][axis] + mark.points[1][axis]) / 2);
  const radii = axes.map((axis) => Math.abs(mark.points[0][axis] - mark.points[1][axis]) / 2);
  const slice = Math.round(mark.points[0][mark.depth]);
  let [count, sum, squares, least, most] = [0, 0, 0, Infinity, -Infinity];
  const [first, last] = [axes.map((axis, n) => Math.max(0, Math.ceil(middle[n] - radii[n] * ROUNDING))), axes.map((axis, n) => Math.min(grid.shape[axis] - 1, Math.floor(middle[n] + radii[n] * ROUNDING)))];
  for (let a = first[0]; a <= last[0]; a += 1) {
    for (let b = first[1]; b <= last[1]; b += 1) {
      if (((a - middle[0]) / radii[0]) ** 2 + ((b - middle[1]) / radii[1]) ** 2 > ROUNDING) continue;
      const index = [0, 0, 0];
      index[mark.depth] = slice;
      index[axes[0]] = a;
      index[axes[1]] = b;
      const value = volume.value(index);
      count += 1;
      sum += value;
      squares += value * value;
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  }
  if (count === 0) return ["no voxel inside"];
  const mean = sum / count;
  const deviation = count > 1 ? Math.sqrt(Math.max(0, squares - count * mean * mean) / (count - 1)) : 0;
  const area = (count * grid.spacingMm[axes[0]] * grid.spacingMm[axes[1]]) / 100;
  const unit = volume.unit === "arbitrary" ? "" : ` ${volume.unit}`;
  return [`${mean.toFixed(1)} ± ${deviation.toFixed(1)}${unit}`, `${least.toFixed(0)} to ${most.toFixed(0)}, ${area.toFixed(2)} cm²`];
}
