/**
 * A filter of which several values can be taken, with how often each occurs: boxes to tick, and a
 * field that finds among many.
 */

import { el, fill, freshId, say } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {{value: string, count: number}} Option a value that occurs, and how often. */

/** So many are shown before somebody asks for all. */
const FEW = 7;

/** From so many on there is a field to find one. */
const MANY = 9;

/** So many are shown at most; the field finds the rest. */
const MOST = 200;

const NUMBERS = new Intl.NumberFormat();

/** One group of boxes. */
export class ChoiceField {
  /**
   * @param {object} parts
   * @param {string} parts.title
   * @param {string} parts.noun of one value, for what is read out.
   * @param {import("./search-colors.js").LabelColors} [parts.colors] of values that have them.
   * @param {(values: string[]) => void} parts.onChange
   */
  constructor({ title, noun, colors, onChange }) {
    this.colors = colors;
    this.noun = noun;
    this.onChange = onChange;
    /** @type {readonly Option[]} */
    this.options = [];
    /** @type {string[]} */
    this.chosen = [];
    this.open = false;
    const listId = freshId("choice");
    this.find = el("input", {
      class: "input choice-find",
      type: "search",
      placeholder: `Find a ${noun}`,
      "aria-label": `Find a ${noun}`,
      "aria-controls": listId,
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.draw(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.onFindKey(event),
    });
    this.list = el("ul", { class: "choice-list", id: listId, role: "list" });
    this.state = el("p", { class: "hidden-text", role: "status" });
    this.all = el("button", { type: "button", class: "link-button choice-all", onclick: () => this.showAll() });
    this.none = el("p", { class: "hint" });
    this.list.addEventListener("keydown", (event) => this.onListKey(event));
    this.element = el(
      "fieldset",
      { class: "filter choice" },
      el("legend", {}, title),
      el("div", { class: "choice-finder" }, icon("search"), this.find),
      this.list,
      this.none,
      this.all,
      this.state,
    );
  }

  /**
   * Show what there is, and what of it is chosen.
   * @param {readonly Option[]} options
   * @param {readonly string[]} chosen also values that do not occur (any more).
   */
  show(options, chosen) {
    this.chosen = [...chosen];
    const known = new Set(options.map((option) => option.value));
    const strangers = chosen.filter((value) => !known.has(value));
    this.options = [...options, ...strangers.map((value) => ({ value, count: 0 }))];
    this.draw();
  }

  draw() {
    const wanted = fold(this.find.value.trim());
    const found = this.options.filter((option) => fold(option.value).includes(wanted));
    const shown = found.slice(0, this.open || wanted ? MOST : FEW);
    // What is chosen is always seen.
    for (const option of found.slice(shown.length)) {
      if (this.chosen.includes(option.value)) shown.push(option);
    }
    const focused = this.focusedValue();
    fill(this.list, ...shown.map((option) => this.line(option)));
    this.find.parentElement?.toggleAttribute("hidden", this.options.length < MANY);
    this.none.hidden = shown.length > 0;
    say(this.none, wanted ? `No ${this.noun} like that.` : `No ${this.noun} known yet.`);
    this.all.hidden = Boolean(wanted) || found.length <= shown.length || this.open;
    say(this.all, `Show all ${NUMBERS.format(found.length)}`);
    say(this.state, wanted ? `${found.length} of ${this.options.length}` : "");
    if (focused !== null) this.focus(focused);
  }

  /** @param {Option} option */
  line({ value, count }) {
    const box = el("input", {
      type: "checkbox",
      value,
      onchange: () => this.onTick(value, box.checked),
    });
    box.checked = this.chosen.includes(value);
    const most = this.options[0]?.count ?? 1;
    const share = el("span");
    share.style.width = `${Math.round((100 * count) / Math.max(1, most))}%`;
    this.colors?.paint(share, value);
    return el(
      "li",
      {},
      el(
        "label",
        { class: "choice-line", title: value },
        box,
        el("span", { class: "choice-value" }, value),
        el("span", { class: "choice-count" }, NUMBERS.format(count)),
        el("span", { class: "choice-bar", "aria-hidden": "true" }, share),
      ),
    );
  }

  /**
   * @param {string} value
   * @param {boolean} ticked
   */
  onTick(value, ticked) {
    const rest = this.chosen.filter((one) => one !== value);
    this.chosen = ticked ? [...rest, value] : rest;
    this.onChange(this.chosen);
  }

  showAll() {
    this.open = true;
    this.draw();
    this.boxes()[FEW]?.focus();
  }

  /** @returns {HTMLInputElement[]} */
  boxes() {
    return [...this.list.querySelectorAll("input")];
  }

  focusedValue() {
    const focused = document.activeElement;
    return focused instanceof HTMLInputElement && this.list.contains(focused) ? focused.value : null;
  }

  /** @param {string} value */
  focus(value) {
    this.boxes()
      .find((box) => box.value === value)
      ?.focus();
  }

  /** @param {KeyboardEvent} event */
  onFindKey(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.boxes()[0]?.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      // Enter takes the only one that is left.
      const boxes = this.boxes();
      if (boxes.length === 1) boxes[0]?.click();
    } else if (event.key === "Escape" && this.find.value) {
      event.preventDefault();
      this.find.value = "";
      this.draw();
    }
  }

  /** @param {KeyboardEvent} event */
  onListKey(event) {
    const boxes = this.boxes();
    const at = boxes.findIndex((box) => box === event.target);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const next = boxes[at + (event.key === "ArrowDown" ? 1 : -1)];
      (next ?? (event.key === "ArrowUp" ? this.find : null))?.focus();
    } else if (event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey) {
      this.typeAhead(event.key, boxes, at);
    }
  }

  /**
   * Go to the next box whose value begins with a letter.
   * @param {string} letter
   * @param {HTMLInputElement[]} boxes
   * @param {number} at
   */
  typeAhead(letter, boxes, at) {
    const round = [...boxes.slice(at + 1), ...boxes.slice(0, at + 1)];
    round.find((box) => fold(box.value).startsWith(fold(letter)))?.focus();
  }
}

/**
 * Return a text as it is compared: without case and accents.
 * @param {string} text
 */
function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}
