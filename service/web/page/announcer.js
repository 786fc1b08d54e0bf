/**
 * What happened, for those who do not see the screen, and for those who look elsewhere on it.
 */

import { el } from "./dom.js";

const TOAST_SECONDS = 6;
const CLEAR_SECONDS = 3;

/** Speaks through the page's live regions. */
export class Announcer {
  #quiet = /** @type {HTMLElement} */ (document.getElementById("announcer"));
  #urgent = /** @type {HTMLElement} */ (document.getElementById("alarms"));
  #toasts = /** @type {HTMLElement} */ (document.getElementById("toasts"));

  /**
   * Say something to readers of the screen.
   * @param {string} text
   * @param {{urgent?: boolean}} [options]
   */
  say(text, { urgent = false } = {}) {
    // A new element each time: the same sentence twice is read twice.
    const line = el("p", {}, text);
    (urgent ? this.#urgent : this.#quiet).append(line);
    setTimeout(() => line.remove(), CLEAR_SECONDS * 1000);
  }

  /**
   * Say something to everybody, for some seconds.
   * @param {string} text
   */
  toast(text) {
    const shown = el("p", { class: "toast" }, text);
    this.#toasts.append(shown);
    this.say(text);
    setTimeout(() => shown.remove(), TOAST_SECONDS * 1000);
  }
}
