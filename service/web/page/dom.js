/**
 * Making elements without a line of HTML: whatever text comes in stays text.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An attribute's value: true sets it empty, false and null leave it out. A function under a name
 * like `onclick` listens. `dataset` and everything with a dash is what it is in HTML.
 * @typedef {Record<string, unknown>} Attributes
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children strings become text
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  dress(made, attributes);
  made.append(...nodesOf(children.flat()));
  return made;
}

/**
 * Make an element of an SVG.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  dress(made, attributes);
  made.append(...nodesOf(children));
  return made;
}

/**
 * Replace all that an element holds.
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...nodesOf(children.flat()));
}

/**
 * Set an element's text, and touch nothing if it is that already: readers of live regions and
 * selections of text are left alone.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let numIds = 0;

/**
 * An id that no other element has, for labels and descriptions.
 * @param {string} stem
 */
export function freshId(stem) {
  numIds += 1;
  return `${stem}-${numIds}`;
}

/**
 * @param {Element} made
 * @param {Attributes} attributes
 */
function dress(made, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function" && name.startsWith("on")) {
      made.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (name === "dataset") {
      Object.assign(/** @type {HTMLElement} */ (made).dataset, value);
    } else {
      made.setAttribute(name === "className" ? "class" : name, value === true ? "" : String(value));
    }
  }
}

/**
 * @param {Child[]} children
 * @returns {(Node | string)[]}
 */
function nodesOf(children) {
  /** @type {(Node | string)[]} */
  const nodes = [];
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    nodes.push(typeof child === "number" ? String(child) : child);
  }
  return nodes;
}
