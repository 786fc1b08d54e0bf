/**
 * How the page around a frame wants it to look: attributes of the element, and its CSS variables.
 *
 * They come from an address or a message, so each is checked: a colour, a length, a number, a font.
 */

const VARIABLE = /^--kinetag-[a-z0-9-]{1,40}$/;
const MAX_LETTERS = 100;
const MAX_VARIABLES = 60;
const NUMBER = /^-?\d{1,5}(\.\d{1,4})?$/;
const LENGTH = /^\d{1,4}(\.\d{1,4})?(px|em|rem|vh|vw|%)$/;
const FONT = /^[\p{L}\p{N} ,"'-]+$/u;
/** Functions that refer to something else, which a value here has no business to do. */
const REFERENCE = /(url|var|env|attr|image|element|src)\s*\(/i;

/** Attribute of the element -> what it may be. @type {Map<string, RegExp>} */
const ATTRIBUTES = new Map([
  ["theme", /^(auto|light|dark)$/],
  ["controls", /^(full|compact|none)$/],
  ["min-score", /^(0(\.\d{1,4})?|1(\.0{1,4})?)$/],
  ["start", /^\d{1,7}(\.\d{1,3})?$/],
  ["labels", /^[^\p{C}]{1,2000}$/u],
]);

/**
 * Apply what is wished and allowed; leave the rest.
 * @param {HTMLElement} element
 * @param {Iterable<readonly [string, unknown]>} wishes attributes and variables by name
 */
export function applyAppearance(element, wishes) {
  let left = MAX_VARIABLES;
  for (const [name, wish] of wishes) {
    const value = typeof wish === "string" || typeof wish === "number" ? String(wish) : "";
    if (ATTRIBUTES.get(name)?.test(value)) {
      element.setAttribute(name, value);
    } else if (VARIABLE.test(name) && isHarmless(value) && left > 0) {
      left -= 1;
      element.style.setProperty(name, value);
    }
  }
}

/** @param {string} value of a variable */
export function isHarmless(value) {
  if (value === "" || value.length > MAX_LETTERS || REFERENCE.test(value)) return false;
  return NUMBER.test(value) || LENGTH.test(value) || CSS.supports("color", value) || FONT.test(value);
}
