// Whole-mask operations: holes, islands, slices between slices. Pure: they say which voxels change, and change none.

import { PLANES } from "../picture/volume.js";

// Offsets of background enclosed by a label within one slice of a plane.
export function holesInSlice(grid, mask, planeName, slice, label) {
  const plane = PLANES[planeName];
  const rows = grid.shape[plane.row];
  const columns = grid.shape[plane.column];
  const offsetOf = (row, column) => slice * grid.strides[plane.depth] + row * grid.strides[plane.row] + column * grid.strides[plane.column];
  const outside = new Uint8Array(rows * columns);
  const queue = [];
  const visit = (row, column) => {
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    const at = row * columns + column;
    if (outside[at] === 1 || mask[offsetOf(row, column)] === label) return;
    outside[at] = 1;
    queue.push(at);
  };
  for (let row = 0; row < rows; row += 1) {
    visit(row, 0);
    visit(row, columns - 1);
  }
  for (let column = 0; column < columns; column += 1) {
    visit(0, column);
    visit(rows - 1, column);
  }
  while (queue.length > 0) {
    const at = queue.pop();
    const row = Math.floor(at / columns);
    const column = at % columns;
    visit(row - 1, column);
    visit(row + 1, column);
    visit(row, column - 1);
    visit(row, column + 1);
  }
  const holes = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const offset = offsetOf(row, column);
      if (outside[row * columns + column] === 0 && mask[offset] === 0) holes.push(offset);
    }
  }
  return holes;
}

// Holes of a label in every slice of a plane.
export function holes(grid, mask, planeName, label) {
  const found = [];
  for (const slice of labelledSlices(grid, mask, planeName, label)) {
    for (const offset of holesInSlice(grid, mask, planeName, slice, label)) found.push(offset);
  }
  return found;
}

// The connected piece (through faces, edges or corners) of a label that holds a voxel; null where there is none.
export function pieceAt(grid, mask, index) {
  const start = grid.offset(index);
  const label = mask[start];
  if (label === 0) return null;
  const seen = new Set([start]);
  const queue = [start];
  const [ni, nj, nk] = grid.shape;
  while (queue.length > 0) {
    const offset = queue.pop();
    const i = offset % ni;
    const j = Math.floor(offset / ni) % nj;
    const k = Math.floor(offset / grid.strides[2]);
    for (let c = Math.max(0, k - 1); c <= Math.min(nk - 1, k + 1); c += 1) {
      for (let b = Math.max(0, j - 1); b <= Math.min(nj - 1, j + 1); b += 1) {
        for (let a = Math.max(0, i - 1); a <= Math.min(ni - 1, i + 1); a += 1) {
          const next = a + b * ni + c * grid.strides[2];
          if (mask[next] !== label || seen.has(next)) continue;
          seen.add(next);
          queue.push(next);
        }
      }
    }
  }
  return { label, offsets: seen };
}

// Everything of a label that is not the piece under a voxel.
export function allButPiece(mask, piece) {
  const others = [];
  for (let offset = 0; offset < mask.length; offset += 1) {
    if (mask[offset] === piece.label && !piece.offsets.has(offset)) others.push(offset);
  }
  return others;
}

// Offsets that a label gains in the slices between those it is drawn in: the shape half-way by signed distance in mm
// (Raya and Udupa, shape-based interpolation, IEEE TMI 1990).
export function betweenSlices(grid, mask, planeName, label) {
  const plane = PLANES[planeName];
  const slices = labelledSlices(grid, mask, planeName, label);
  const gained = [];
  for (let n = 1; n < slices.length; n += 1) {
    const [below, above] = [slices[n - 1], slices[n]];
    if (above - below < 2) continue;
    const distances = [below, above].map((slice) => signedDistance(grid, mask, plane, slice, label));
    for (let slice = below + 1; slice < above; slice += 1) {
      const share = (slice - below) / (above - below);
      eachPixel(grid, plane, slice, (offset, at) => {
        if (distances[0][at] * (1 - share) + distances[1][at] * share < 0 && mask[offset] === 0) gained.push(offset);
      });
    }
  }
  return gained;
}

export function labelledSlices(grid, mask, planeName, label) {
  const plane = PLANES[planeName];
  const has = new Uint8Array(grid.shape[plane.depth]);
  const stride = grid.strides[plane.depth];
  const extent = grid.shape[plane.depth];
  for (let offset = 0; offset < mask.length; offset += 1) {
    if (mask[offset] === label) has[Math.floor(offset / stride) % extent] = 1;
  }
  return [...has.keys()].filter((slice) => has[slice] === 1);
}

function eachPixel(grid, plane, slice, run) {
  let at = 0;
  for (let row = 0; row < grid.shape[plane.row]; row += 1) {
    let offset = slice * grid.strides[plane.depth] + row * grid.strides[plane.row];
    for (let column = 0; column < grid.shape[plane.column]; column += 1, at += 1) {
      run(offset, at);
      offset += grid.strides[plane.column];
    }
  }
}

// Distance in mm to the border of a label in one slice, negative inside.
function signedDistance(grid, mask, plane, slice, label) {
  const rows = grid.shape[plane.row];
  const columns = grid.shape[plane.column];
  const inside = new Uint8Array(rows * columns);
  eachPixel(grid, plane, slice, (offset, at) => {
    inside[at] = mask[offset] === label ? 1 : 0;
  });
  const spacing = [grid.spacingMm[plane.row], grid.spacingMm[plane.column]];
  const toInside = squaredDistance(inside, 1, rows, columns, spacing);
  const toOutside = squaredDistance(inside, 0, rows, columns, spacing);
  return Float64Array.from(toInside, (value, at) => Math.sqrt(value) - Math.sqrt(toOutside[at]));
}

// Squared distance in mm to the nearest pixel of a value (Felzenszwalb and Huttenlocher, Theory of Computing 2012).
function squaredDistance(picture, value, rows, columns, [rowMm, columnMm]) {
  const far = 1e12;
  const out = Float64Array.from(picture, (pixel) => (pixel === value ? 0 : far));
  const line = (start, stride, count, mm) => {
    const heights = Float64Array.from({ length: count }, (_, n) => out[start + n * stride]);
    const places = new Int32Array(count);
    const bounds = new Float64Array(count + 1);
    let last = 0;
    bounds[0] = -Infinity;
    bounds[1] = Infinity;
    const meet = (a, b) => (heights[b] - heights[a] + mm * mm * (b * b - a * a)) / (2 * mm * mm * (b - a));
    for (let n = 1; n < count; n += 1) {
      let crossing = meet(places[last], n);
      while (crossing <= bounds[last]) {
        last -= 1;
        crossing = meet(places[last], n);
      }
      last += 1;
      places[last] = n;
      bounds[last] = crossing;
      bounds[last + 1] = Infinity;
    }
    last = 0;
    for (let n = 0; n < count; n += 1) {
      while (bounds[last + 1] < n) last += 1;
      out[start + n * stride] = mm * mm * (n - places[last]) ** 2 + heights[places[last]];
    }
  };
  for (let column = 0; column < columns; column += 1) line(column, columns, rows, rowMm);
  for (let row = 0; row < rows; row += 1) line(row * columns, 1, columns, columnMm);
  return out;
}
