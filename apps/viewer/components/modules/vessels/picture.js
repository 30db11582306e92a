// Pictures along and across a vessel: int16 values from the server, drawn through the grey window.

export async function fetchPicture(server, url, signal) {
  const response = await server.request(url, { signal });
  const [rows, columns] = ["X-Rows", "X-Columns"].map((name) => Number(response.headers.get(name)));
  const values = new Int16Array(await response.arrayBuffer());
  if (values.length !== rows * columns) throw new Error("the picture arrived incomplete; reload the page");
  return { values, rows, columns, stepMm: Number(response.headers.get("X-Step-Mm")), scale: Number(response.headers.get("X-Scale")) };
}

// A picture as a canvas of its own pixels; turned, so that its rows run from left to right, where asked for.
export function asSheet(picture, window, isTurned) {
  const { values, rows, columns, scale } = picture;
  const [width, height] = isTurned ? [rows, columns] : [columns, rows];
  const image = new ImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const level = (values[row * columns + column] / scale - window.centre) / window.width + 0.5;
      const grey = Math.floor(Math.min(1, Math.max(0, level)) * 255 + 0.5);
      words[isTurned ? column * rows + row : row * columns + column] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }
  const sheet = new OffscreenCanvas(width, height);
  sheet.getContext("2d").putImageData(image, 0, 0);
  return sheet;
}
