// Small charts as SVG, each with its numbers in a table for those who cannot see it.

import { element } from "../page/dom.js";

const SPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [420, 160, 38, 22, 10];

function svg(tag, properties = {}, text = null) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, String(value));
  if (text !== null) made.textContent = text;
  return made;
}

function frame(title, names, most, least, words) {
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  const y = (value) => HEIGHT - BOTTOM - ((value - least) / (most - least || 1)) * (HEIGHT - BOTTOM - TOP);
  const x = (n) => LEFT + ((n + 0.5) / names.length) * (WIDTH - LEFT);
  for (const value of [least, (least + most) / 2, most]) {
    picture.append(svg("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value), class: "grid" }), svg("text", { x: LEFT - 5, y: y(value) + 4, class: "axis", "text-anchor": "end" }, tick(value)));
  }
  const every = Math.ceil(names.length / 7);
  names.forEach((name, n) => {
    if (n % every === 0) picture.append(svg("text", { x: x(n), y: HEIGHT - 6, class: "axis", "text-anchor": "middle" }, name));
  });
  const figure = element("figure", { class: "chart" }, element("figcaption", { text: title }), picture, words);
  return { figure, picture, x, y };
}

// In place of a chart that would be empty.
function nothingYet(title) {
  return element("figure", { class: "chart" }, element("figcaption", { text: title }), element("p", { class: "quiet", text: "Nothing to show yet." }));
}

function tick(value) {
  return Math.abs(value) >= 10 ? value.toFixed(0) : Number(value.toFixed(2)).toString();
}

function numbers(head, rows) {
  const cell = (text) => element("td", { text: text === null ? "–" : String(text) });
  return element("details", {}, element("summary", { text: "Numbers" }), element("table", { class: "worklist" }, element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col", text })))), element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell))))));
}

// Stacked bars: `items` are {name, parts}, a number for each of `kinds`.
export function barChart(title, items, kinds) {
  const most = Math.max(1, ...items.map((item) => item.parts.reduce((a, b) => a + b, 0)));
  const { figure, picture, x, y } = frame(title, items.map((item) => item.name), most, 0, numbers(["Week", ...kinds], items.map((item) => [item.name, ...item.parts])));
  const width = Math.min(28, ((WIDTH - LEFT) / items.length) * 0.6);
  items.forEach((item, n) => {
    let under = 0;
    item.parts.forEach((part, kind) => {
      picture.append(svg("rect", { x: x(n) - width / 2, y: y(under + part), width, height: y(under) - y(under + part), class: `bar ${kinds[kind]}` }));
      under += part;
    });
  });
  figure.querySelector("figcaption").append(...kinds.map((kind) => element("span", { class: "key" }, element("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), kind)));
  return figure;
}

// A line through {name, value}; a value of null leaves a gap. Without `range` it reaches from 0 to the highest.
export function lineChart(title, items, range) {
  if (items.every((item) => item.value === null)) return nothingYet(title);
  const [least, most] = range ?? [0, Math.max(1e-6, ...items.map((item) => item.value ?? 0))];
  const { figure, picture, x, y } = frame(title, items.map((item) => item.name), most, least, numbers(["Week", "Value"], items.map((item) => [item.name, item.value === null ? null : Number(item.value.toFixed(3))])));
  const known = items.map((item, n) => [n, item.value]).filter(([, value]) => value !== null);
  picture.append(svg("polyline", { points: known.map(([n, value]) => `${x(n)},${y(value)}`).join(" "), class: "curve" }));
  for (const [n, value] of known) picture.append(svg("circle", { cx: x(n), cy: y(value), r: 3, class: "dot" }));
  return figure;
}
