/** Elements without markup: text stays text, whatever it says. */

/** @typedef {Record<string, string | number | boolean | null | undefined>} Attributes */

/**
 * Make an element. `class` and every other key become attributes; true is an empty one, and
 * false, null and undefined are none.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children);
  return element;
}

/**
 * Set or remove attributes.
 * @param {Element} element
 * @param {Attributes} attributes
 */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * Put a text where it is not yet: writing the same text again would make screen readers repeat it.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** Line drawings on a field of 24 by 24; those that end in "z" are filled. */
const DRAWINGS = {
  play: "M7 4.5v15l12.5-7.5z",
  pause: "M7 5h3.4v14H7zM13.6 5H17v14h-3.4z",
  previous: "M19 6v12l-9-6zM5 6h2.4v12H5z",
  next: "M5 6v12l9-6zM16.6 6H19v12h-2.4z",
  back: "M14 6l-6 6 6 6",
  forward: "M10 6l6 6-6 6",
  loop: "M17 3l3.5 3.5L17 10M3.5 11.5v-1a4 4 0 0 1 4-4h13M7 21l-3.5-3.5L7 14M20.5 12.5v1a4 4 0 0 1-4 4h-13",
  volume: "M4 9.5h3.5L12 5.5v13L7.5 14.5H4zM15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11",
  muted: "M4 9.5h3.5L12 5.5v13L7.5 14.5H4zM16 9.5l5 5M21 9.5l-5 5",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  help: "M9.2 9.2a2.9 2.9 0 1 1 4.3 2.5c-1 .6-1.5 1.1-1.5 2.3M12 17.3v.2M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19",
  zoomIn: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13M15.5 15.5L20 20M10.5 7.8v5.4M7.8 10.5h5.4",
  zoomOut: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13M15.5 15.5L20 20M7.8 10.5h5.4",
  fit: "M3.5 5v14M20.5 5v14M7 12h10M9.5 9L6.5 12l3 3M14.5 9l3 3-3 3",
  export: "M12 3.5v11M7.5 10.5L12 15l4.5-4.5M4.5 17.5v2.5h15v-2.5",
  lanes: "M4 6.5h16M4 12h10M4 17.5h13",
  link: "M9.5 14.5l5-5M8 11l-2.5 2.5a3.9 3.9 0 0 0 5.5 5.5L13.5 16.5M16 13l2.5-2.5a3.9 3.9 0 0 0-5.5-5.5L10.5 7.5",
  close: "M6 6l12 12M18 6L6 18",
  reset: "M4 4.5v5h5M4.5 9.3a8 8 0 1 1-.3 4.5",
  focus: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M9 12h6",
};

/** @typedef {keyof typeof DRAWINGS} IconName */

const FILLED = new Set(["play", "pause", "previous", "next"]);

/**
 * Make a drawing; it says nothing to a screen reader.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  set(svg, { viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false", class: "icon" });
  svg.append(document.createElementNS(SVG, "path"));
  redraw(svg, name);
  return svg;
}

/**
 * Show another drawing in the place of one.
 * @param {Element} svg
 * @param {IconName} name
 */
export function redraw(svg, name) {
  const path = /** @type {Element} */ (svg.firstChild);
  set(path, { d: DRAWINGS[name], class: FILLED.has(name) ? "filled" : "line" });
}

/**
 * Make a button that shows a drawing and is named by a text.
 * @param {IconName} name
 * @param {string} label
 * @param {() => void} onClick
 * @param {Attributes} [attributes]
 */
export function iconButton(name, label, onClick, attributes = {}) {
  const button = h(
    "button",
    { type: "button", class: "tool", part: "button", "aria-label": label, title: label, ...attributes },
    icon(name),
  );
  button.addEventListener("click", onClick);
  return button;
}
