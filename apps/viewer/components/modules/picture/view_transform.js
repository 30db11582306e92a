// Between a picture's pixels and the screen: fitted to the pane in millimetres, then zoomed and moved by hand.

const FILL = 0.94;
const LEAST_ZOOM = 0.25;
const MOST_ZOOM = 40;

export class ViewTransform {
  constructor() {
    this.reset();
  }

  reset() {
    this.zoom = 1;
    this.panX = 0;
    this.panY = 0;
  }

  // Work out the fit of a picture {rows, columns, rowMm, columnMm} in a pane of width x height screen pixels.
  fit(picture, width, height) {
    const wide = picture.columns * picture.columnMm;
    const high = picture.rows * picture.rowMm;
    this.pixelsPerMm = Math.min(width / wide, height / high) * FILL * this.zoom;
    this.columnPixels = picture.columnMm * this.pixelsPerMm;
    this.rowPixels = picture.rowMm * this.pixelsPerMm;
    this.left = (width - wide * this.pixelsPerMm) / 2 + this.panX;
    this.top = (height - high * this.pixelsPerMm) / 2 + this.panY;
  }

  // The corner of pixel (row, column) on the screen; add half for its centre.
  toScreen(row, column) {
    return { x: this.left + column * this.columnPixels, y: this.top + row * this.rowPixels };
  }

  // Fractional row and column under a screen position: 0 at a pixel's centre.
  toPicture(x, y) {
    return { row: (y - this.top) / this.rowPixels - 0.5, column: (x - this.left) / this.columnPixels - 0.5 };
  }

  // Zoom by a factor with the screen position (x, y) held in place.
  zoomAt(factor, x, y, width, height) {
    const zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, this.zoom * factor));
    const ratio = zoom / this.zoom;
    this.panX = (x - width / 2) * (1 - ratio) + this.panX * ratio;
    this.panY = (y - height / 2) * (1 - ratio) + this.panY * ratio;
    this.zoom = zoom;
  }
}
