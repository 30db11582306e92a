// Elements made from plain values. Text only ever goes in as text: a name that holds HTML shows as it is written.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function button(label, title, onclick, properties = {}) {
  return element("button", { type: "button", class: "button", text: label, title, onclick, ...properties });
}

// An icon button: 16 x 16 line drawing from a path, with its words for the mouse and the screen reader.
export function iconButton(path, title, onclick, properties = {}) {
  const made = element("button", { type: "button", class: "icon", title, "aria-label": title, onclick, ...properties });
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  svg.append(line);
  made.append(svg);
  return made;
}

export function replaceChildren(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

// Bring what a parent holds in line with what was made anew, for what changes by itself under a reader's hand. A child that
// is equal stays in its place, where it keeps the focus and a press on it becomes a click; one with the same `data-` values
// stays too, and its own children are brought in line. So whatever a listener goes by must be seen on its element.
export function renewChildren(parent, ...children) {
  const there = new Map();
  for (const old of parent.childNodes) there.set(identity(old), [...(there.get(identity(old)) ?? []), old]);
  const wanted = children.filter((child) => child !== null && child !== undefined).map((made) => {
    const old = there.get(identity(made))?.shift();
    if (old !== undefined && !old.isEqualNode(made)) renew(old, made);
    return old ?? made;
  });
  const staying = new Set(wanted);
  for (const old of [...parent.childNodes]) if (!staying.has(old)) old.remove();
  wanted.forEach((child, n) => {
    if (parent.childNodes[n] !== child) parent.insertBefore(child, parent.childNodes[n] ?? null);
  });
}

function renew(old, made) {
  for (const name of old.getAttributeNames()) if (!made.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) old.setAttribute(name, value);
  renewChildren(old, ...made.childNodes);
}

function identity(node) {
  const named = JSON.stringify({ ...node.dataset });
  return named === "{}" ? (node.outerHTML ?? node.data) : `${node.tagName} ${named}`;
}
