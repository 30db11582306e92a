// Voxels in display order: index i to the patient's left, j to the back, k to the head; i runs fastest.
// The three planes in radiological convention: see medseg/imaging/pictures/slices.py, which says the same in Python.

export const PLANES = {
  axial: { depth: 2, column: 0, row: 1, isFlipped: false },
  coronal: { depth: 1, column: 0, row: 2, isFlipped: true },
  sagittal: { depth: 0, column: 1, row: 2, isFlipped: true },
};

export const NOT_LOADED = -32768;

export class Grid {
  constructor(shape, spacingMm, affine, inverse) {
    this.shape = shape;
    this.spacingMm = spacingMm;
    this.affine = affine;
    this.inverse = inverse;
    this.strides = [1, shape[0], shape[0] * shape[1]];
    this.count = shape[0] * shape[1] * shape[2];
  }

  offset([i, j, k]) {
    return i + j * this.strides[1] + k * this.strides[2];
  }

  contains(index) {
    return index.every((value, axis) => value >= 0 && value < this.shape[axis]);
  }

  clamp(index) {
    return index.map((value, axis) => Math.min(this.shape[axis] - 1, Math.max(0, Math.round(value))));
  }

  // World position in RAS+ mm.
  world([i, j, k]) {
    return this.affine.slice(0, 3).map((row) => row[0] * i + row[1] * j + row[2] * k + row[3]);
  }

  // Voxel position (fractional) of a world position in RAS+ mm.
  fromWorld([x, y, z]) {
    return this.inverse.slice(0, 3).map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);
  }

  // Rows, columns and pixel size in mm of a plane's pictures.
  picture(planeName) {
    const plane = PLANES[planeName];
    return {
      rows: this.shape[plane.row],
      columns: this.shape[plane.column],
      rowMm: this.spacingMm[plane.row],
      columnMm: this.spacingMm[plane.column],
      slices: this.shape[plane.depth],
    };
  }

  // Row and column (fractional) of a voxel in a plane's picture, and the way back.
  toPicture(planeName, index) {
    const plane = PLANES[planeName];
    const row = plane.isFlipped ? this.shape[plane.row] - 1 - index[plane.row] : index[plane.row];
    return { row, column: index[plane.column] };
  }

  fromPicture(planeName, { row, column }, depth) {
    const plane = PLANES[planeName];
    const index = [0, 0, 0];
    index[plane.depth] = depth;
    index[plane.column] = column;
    index[plane.row] = plane.isFlipped ? this.shape[plane.row] - 1 - row : row;
    return index;
  }
}

export class Volume {
  constructor(grid, slope, intercept, unit) {
    this.grid = grid;
    this.slope = slope;
    this.intercept = intercept;
    this.unit = unit;
    this.data = new Int16Array(grid.count).fill(NOT_LOADED);
  }

  value(index) {
    return this.data[this.grid.offset(index)] * this.slope + this.intercept;
  }
}

// One picture of a plane, row by row from the top, written into `out`.
export function cut(grid, data, planeName, slice, out) {
  const plane = PLANES[planeName];
  const rows = grid.shape[plane.row];
  const columns = grid.shape[plane.column];
  const start = slice * grid.strides[plane.depth];
  const rowStride = grid.strides[plane.row];
  const columnStride = grid.strides[plane.column];
  let target = 0;
  for (let row = 0; row < rows; row += 1) {
    let source = start + (plane.isFlipped ? rows - 1 - row : row) * rowStride;
    if (columnStride === 1) {
      out.set(data.subarray(source, source + columns), target);
      target += columns;
      continue;
    }
    for (let column = 0; column < columns; column += 1) {
      out[target] = data[source];
      target += 1;
      source += columnStride;
    }
  }
  return out;
}

// A slab about a slice: the highest, lowest or mean stored value over `thicknessMm`, as one picture.
export function cutSlab(grid, data, planeName, slice, slab, out, buffer) {
  const plane = PLANES[planeName];
  const reach = Math.floor(slab.thicknessMm / grid.spacingMm[plane.depth] / 2);
  const first = Math.max(0, slice - reach);
  const last = Math.min(grid.shape[plane.depth] - 1, slice + reach);
  if (slab.mode === "none" || first === last) return cut(grid, data, planeName, slice, out);
  const sum = slab.mode === "mean" ? new Int32Array(out.length) : null;
  for (let s = first; s <= last; s += 1) {
    cut(grid, data, planeName, s, s === first ? out : buffer);
    const from = s === first ? out : buffer;
    if (sum !== null) for (let p = 0; p < out.length; p += 1) sum[p] += from[p];
    else if (s > first && slab.mode === "mip") for (let p = 0; p < out.length; p += 1) out[p] = from[p] > out[p] ? from[p] : out[p];
    else if (s > first) for (let p = 0; p < out.length; p += 1) out[p] = from[p] < out[p] ? from[p] : out[p];
  }
  if (sum !== null) for (let p = 0; p < out.length; p += 1) out[p] = Math.floor(sum[p] / (last - first + 1) + 0.5);
  return out;
}
