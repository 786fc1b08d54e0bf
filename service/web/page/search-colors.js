/** Colours of labels where no model says which others there are: as timelines have them. */

import { CLASS_COLORS, labelHash, NUM_SLOTS } from "../timeline/colors.js";

/**
 * Give an element the colour of a label, for both themes; the style sheet takes one.
 * @param {HTMLElement} element
 * @param {string} label
 */
export function paint(element, label) {
  const slot = labelHash(label) % NUM_SLOTS;
  element.style.setProperty("--label-light", CLASS_COLORS.light[slot] ?? "");
  element.style.setProperty("--label-dark", CLASS_COLORS.dark[slot] ?? "");
  element.classList.add("painted");
}
