/** Colours of labels, chosen as timelines choose them: no two of twelve labels look alike. */

import { CLASS_COLORS, colorSlots, labelHash, NUM_SLOTS } from "../timeline/colors.js";

/** The colours of all labels that occur. */
export class LabelColors {
  /** @type {Map<string, number>} */
  #slots = new Map();

  /**
   * Note which labels there are.
   * @param {readonly string[]} labels
   */
  learn(labels) {
    this.#slots = colorSlots(labels);
  }

  /**
   * Give an element the colour of a label, for both themes; the style sheet takes one.
   * @param {HTMLElement} element
   * @param {string} label
   */
  paint(element, label) {
    const slot = (this.#slots.get(label) ?? labelHash(label)) % NUM_SLOTS;
    element.style.setProperty("--label-light", CLASS_COLORS.light[slot] ?? "");
    element.style.setProperty("--label-dark", CLASS_COLORS.dark[slot] ?? "");
    element.dataset["painted"] = label;
  }

  /**
   * Paint what was painted before more labels were known.
   * @param {Element} root
   */
  repaint(root) {
    for (const element of root.querySelectorAll("[data-painted]")) {
      if (element instanceof HTMLElement) this.paint(element, element.dataset["painted"] ?? "");
    }
  }
}
