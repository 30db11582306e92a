// The third dimension: masks as lit surfaces within a maximum projection of the scan, by WebGL2 ray march over a copy of
// at most 192 voxels a side. Drawn only when something changed; turned by dragging.

import { element } from "../page/dom.js";
import { FRAGMENT, VERTEX } from "./shaders.js";

const MOST_VOXELS = 192;
const TURN_PER_PIXEL = 0.008;
// How much of what lies behind a surface it hides, of 255: lesions are seen through the organ they are in.
const SOLIDITY = { organ: 24, vessel: 110, lesion: 235, blockage: 235 };
const MOVING_SCALE = 0.4;

export class Pane3d {
  constructor(room) {
    this.room = room;
    this.canvas = element("canvas", { class: "picture" });
    this.words = element("p", { class: "no-3d", hidden: true });
    this.host = element("div", { class: "pane pane-3d", tabindex: "0", role: "application", "aria-label": "Three-dimensional view; drag or use the arrow keys to turn it" }, this.canvas, this.words);
    this.yaw = 0.4;
    this.pitch = 0.2;
    this.isShown = false;
    this.host.addEventListener("pointerdown", (event) => {
      this.held = { x: event.clientX, y: event.clientY };
      this.host.setPointerCapture(event.pointerId);
    });
    this.host.addEventListener("pointermove", (event) => {
      if (!this.held) return;
      this.turn((event.clientX - this.held.x) * TURN_PER_PIXEL, (event.clientY - this.held.y) * TURN_PER_PIXEL);
      this.held = { x: event.clientX, y: event.clientY };
    });
    this.host.addEventListener("pointerup", () => {
      this.held = null;
      this.draw(1);
    });
    this.host.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.turn(...by);
      this.draw(1);
    });
    this.observer = new ResizeObserver(() => this.draw(1));
    this.observer.observe(this.host);
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(1.5, Math.max(-1.5, this.pitch + pitch));
    this.draw(MOVING_SCALE);
  }

  show(isShown) {
    this.isShown = isShown;
    if (!isShown) return;
    if (!this.gl && !this.start()) return;
    this.upload();
    this.draw(1);
  }

  start() {
    this.gl = this.canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
    if (!this.gl) {
      this.words.hidden = false;
      this.words.textContent = "This browser has no WebGL2, so the three-dimensional view is off. The planes do not need it.";
      return false;
    }
    const { gl } = this;
    this.program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) {
      this.words.hidden = false;
      this.words.textContent = "The graphics driver refused the three-dimensional view. The planes do not need it.";
      this.gl = null;
      return false;
    }
    gl.useProgram(this.program);
    this.textures = { scan: gl.createTexture(), labels: gl.createTexture(), colours: gl.createTexture() };
    return true;
  }

  // Copies of scan and mask in steps that leave at most MOST_VOXELS a side.
  upload() {
    const { gl, room } = this;
    const { grid, data } = room.volume;
    const steps = grid.shape.map((n) => Math.max(1, Math.ceil(n / MOST_VOXELS)));
    const shape = grid.shape.map((n, axis) => Math.ceil(n / steps[axis]));
    const scan = new Uint8Array(shape[0] * shape[1] * shape[2]);
    const labels = new Uint8Array(scan.length);
    const places = new Map(room.study.labels.map((label, n) => [label.index, n + 1]));
    let at = 0;
    for (let k = 0; k < shape[2]; k += 1) {
      for (let j = 0; j < shape[1]; j += 1) {
        let from = grid.offset([0, j * steps[1], k * steps[2]]);
        for (let i = 0; i < shape[0]; i += 1, at += 1, from += steps[0]) {
          scan[at] = room.greys[data[from] + 32768];
          if (room.mask !== null) labels[at] = places.get(room.mask[from]) ?? 0;
        }
      }
    }
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.texture(0, this.textures.scan, shape, scan, gl.LINEAR);
    this.texture(1, this.textures.labels, shape, labels, gl.NEAREST);
    const mm = grid.shape.map((n, axis) => n * grid.spacingMm[axis]);
    this.size = mm.map((length) => length / Math.max(...mm));
    this.shape = shape;
  }

  texture(unit, texture, shape, bytes, filter) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, ...shape, 0, gl.RED, gl.UNSIGNED_BYTE, bytes);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, name, filter);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(gl.TEXTURE_3D, name, gl.CLAMP_TO_EDGE);
  }

  // One colour a label, clear where it is hidden.
  colours() {
    const { gl, room } = this;
    const bytes = new Uint8Array(256 * 4);
    room.study.labels.forEach((label, n) => bytes.set([...label.colour, room.isMaskShown && !room.hidden.has(label.index) ? SOLIDITY[label.kind] : 0], (n + 1) * 4));
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.colours);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
  }

  // `scale` is the share of the pane's pixels that is drawn: fewer while it turns.
  draw(scale) {
    if (!this.isShown || !this.gl || !this.size || this.host.clientWidth === 0) return;
    const { gl, program } = this;
    this.canvas.width = Math.max(1, Math.round(this.host.clientWidth * scale));
    this.canvas.height = Math.max(1, Math.round(this.host.clientHeight * scale));
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    this.colours();
    const set = (name, method, ...values) => gl[method](gl.getUniformLocation(program, name), ...values);
    set("scan", "uniform1i", 0);
    set("labels", "uniform1i", 1);
    set("colours", "uniform1i", 2);
    set("size", "uniform3f", ...this.size);
    set("shape", "uniform3f", ...this.shape);
    set("aspect", "uniform1f", this.canvas.width / this.canvas.height);
    set("yaw", "uniform1f", this.yaw);
    set("pitch", "uniform1f", this.pitch);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  destroy() {
    this.observer.disconnect();
    this.gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
