/**
 * Light or dark: as the system has it, or as was chosen here and is remembered.
 */

/** @typedef {"auto" | "light" | "dark"} Choice */

const STORED_AS = "kinetag-theme";
const CHOICES = /** @type {const} */ (["auto", "light", "dark"]);

/** Sets `data-theme` of the html element, which the style sheets go by. */
export class PageTheme {
  #dark = matchMedia("(prefers-color-scheme: dark)");
  /** @type {Set<() => void>} */
  #listeners = new Set();

  constructor() {
    /** @type {Choice} */
    this.choice = remembered();
    this.#dark.addEventListener("change", () => this.#show());
    // Another tab of this page chose.
    window.addEventListener("storage", (event) => {
      if (event.key !== STORED_AS) return;
      this.choice = remembered();
      this.#show();
    });
    this.#show();
  }

  /** @returns {"light" | "dark"} */
  get shown() {
    if (this.choice !== "auto") return this.choice;
    return this.#dark.matches ? "dark" : "light";
  }

  /** @param {Choice} choice */
  choose(choice) {
    this.choice = choice;
    try {
      localStorage.setItem(STORED_AS, choice);
    } catch {
      // A browser that keeps nothing: it holds as long as the page is open.
    }
    this.#show();
  }

  /** The choice after this one, for a button that goes round. */
  get following() {
    return CHOICES[(CHOICES.indexOf(this.choice) + 1) % CHOICES.length] ?? "auto";
  }

  /**
   * @param {() => void} listener
   * @param {AbortSignal} signal
   */
  onChange(listener, signal) {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  #show() {
    document.documentElement.dataset.theme = this.shown;
    for (const listener of this.#listeners) listener();
  }
}

/** @returns {Choice} */
function remembered() {
  try {
    const stored = localStorage.getItem(STORED_AS);
    return CHOICES.find((choice) => choice === stored) ?? "auto";
  } catch {
    return "auto";
  }
}
