// From stored values and labels to pixels, through two lookup tables. Whole-number arithmetic, the same as
// medseg/imaging/pictures/slices.py (grey) and medseg/imaging/pictures/overlay.py (overlay), so that both come to the same bytes.

const STORED_VALUES = 65536;

// Grey level 0-255 of every stored value, at index stored + 32768.
export function greyTable(window, slope, intercept, isInverted) {
  const table = new Uint8Array(STORED_VALUES);
  for (let n = 0; n < STORED_VALUES; n += 1) {
    const level = ((n - 32768) * slope + intercept - window.centre) / window.width + 0.5;
    const grey = Math.floor(Math.min(1, Math.max(0, level)) * 255 + 0.5);
    table[n] = isInverted ? 255 - grey : grey;
  }
  return table;
}

// For each label the RGBA of every grey level beneath it, as 32-bit words of ImageData; hidden labels show the grey.
export function colourTables(labels, opacity, hidden) {
  const bare = wordsOver([0, 0, 0], 0);
  const tables = new Map([[0, bare]]);
  const share = Math.floor(opacity * 255 + 0.5);
  for (const label of labels) tables.set(label.index, hidden.has(label.index) ? bare : wordsOver(label.colour, share));
  const highest = Math.max(0, ...labels.map((label) => label.index));
  return Array.from({ length: highest + 1 }, (_, index) => tables.get(index) ?? bare);
}

// As `colourTables`, for what `difference` tells apart: 1 here only, 2 there only, 3 another label.
export function differenceTables(opacity, colours) {
  const share = Math.floor(Math.max(opacity, 0.5) * 255 + 0.5);
  return [wordsOver([0, 0, 0], 0), wordsOver(colours.here, share), wordsOver(colours.there, share), wordsOver(colours.label, share)];
}

// Where two pictures of labels differ, written into `out`.
export function difference(here, there, out) {
  for (let p = 0; p < out.length; p += 1) out[p] = here[p] === there[p] ? 0 : there[p] === 0 ? 1 : here[p] === 0 ? 2 : 3;
  return out;
}

function wordsOver(colour, share) {
  const words = new Uint32Array(256);
  const bytes = new Uint8Array(words.buffer);
  for (let grey = 0; grey < 256; grey += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      bytes[grey * 4 + channel] = Math.floor((grey * (255 - share) + colour[channel] * share + 127) / 255);
    }
    bytes[grey * 4 + 3] = 255;
  }
  return words;
}

export function paint(words, stored, labels, greys, tables) {
  if (labels === null) {
    const bare = tables[0];
    for (let p = 0; p < words.length; p += 1) words[p] = bare[greys[stored[p] + 32768]];
    return;
  }
  for (let p = 0; p < words.length; p += 1) words[p] = tables[labels[p]][greys[stored[p] + 32768]];
}

// The edges between a label and what is not that label, as line segments [x0, y0, x1, y1] in pixel corners, joined along
// rows and columns. Returns a Map from label to a flat array.
export function outlines(labels, rows, columns, hidden) {
  const found = new Map();
  const box = extent(labels, rows, columns);
  if (box === null) return found;
  const shown = hidden.size === 0 ? labels : labels.map((label) => (hidden.has(label) ? 0 : label));
  const add = (label, x0, y0, x1, y1) => {
    if (!found.has(label)) found.set(label, []);
    found.get(label).push(x0, y0, x1, y1);
  };
  const [wide, high] = [box.right + 1, box.bottom + 1];
  for (let row = box.top; row <= high; row += 1) {
    const [above, below] = [row > box.top ? (row - 1) * columns : -1, row < high ? row * columns : -1];
    walk(shown, above, 1, below, box.left, wide, (label, from, to) => add(label, from, row, to, row));
  }
  for (let column = box.left; column <= wide; column += 1) {
    const [before, after] = [column > box.left ? column - 1 : -1, column < wide ? column : -1];
    walk(shown, before, columns, after, box.top, high, (label, from, to) => add(label, column, from, column, to));
  }
  return found;
}

// Runs of equal edges along one line of pixel corners, between the pixels that begin at `a` on one side of it and at `b`
// on the other; -1 where there are none.
function walk(labels, a, stride, b, first, end, emit) {
  let [runA, runB, startA, startB] = [0, 0, first, first];
  for (let n = first; n <= end; n += 1) {
    let labelA = n < end && a >= 0 ? labels[a + n * stride] : 0;
    let labelB = n < end && b >= 0 ? labels[b + n * stride] : 0;
    if (labelA === labelB) labelA = labelB = 0;
    if (labelA !== runA) {
      if (runA !== 0) emit(runA, startA, n);
      [runA, startA] = [labelA, n];
    }
    if (labelB !== runB) {
      if (runB !== 0) emit(runB, startB, n);
      [runB, startB] = [labelB, n];
    }
  }
}

// The smallest box around everything that is labelled, null where nothing is.
function extent(labels, rows, columns) {
  let top = rows;
  let bottom = -1;
  let left = columns;
  let right = -1;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0, p = row * columns; column < columns; column += 1, p += 1) {
      if (labels[p] === 0) continue;
      if (row < top) top = row;
      bottom = row;
      if (column < left) left = column;
      if (column > right) right = column;
    }
  }
  return bottom < 0 ? null : { top, bottom, left, right };
}
