/** What opens over the timeline: export, choice of lanes, help on keys. One at a time; Escape closes. */

import { h, iconButton, set } from "./dom.js";
import { paintSwatch } from "./lanes.js";

/** @typedef {import("./tracks.js").Tracks} Tracks */

/** Formats by what people call them, and what files of them end in. */
export const FORMATS = [
  ["native", "JSON", ".json"],
  ["csv", "Spreadsheet", ".csv"],
  ["jsonl", "JSON lines", ".jsonl"],
  ["webvtt", "WebVTT captions", ".vtt"],
  ["activitynet", "ActivityNet", ".activitynet.json"],
  ["labelstudio", "Label Studio", ".labelstudio.json"],
  ["fiftyone", "FiftyOne", ".fiftyone.json"],
  ["svg", "Picture, vector", ".svg"],
  ["png", "Picture", ".png"],
];

const KEYS = [
  ["Play, pause", "Space", "K"],
  ["One frame back, forward", ",", "."],
  ["One second back, forward", "←", "→"],
  ["Ten seconds back, forward", "J", "L"],
  ["Begin, end", "Home", "End"],
  ["Next, previous segment", "N", "P"],
  ["Loop the segment", "R"],
  ["Zoom to the segment", "Z"],
  ["Zoom in, out, all", "+", "−", "0"],
  ["Move the window", "Shift ←", "Shift →"],
  ["Threshold down, up", "[", "]"],
  ["Model’s own threshold", "\\"],
  ["Slower, faster", "<", ">"],
  ["Volume", "↑", "↓"],
  ["Mute", "M"],
  ["Full screen", "F"],
  ["Close, unselect", "Esc"],
];

/** More lanes than these are searched and not read. */
const SEARCH_FROM = 12;
const MAX_CHOICES = 200;

export class Popups {
  /** @param {HTMLElement} root that they open in */
  constructor(root) {
    this.root = root;
    /** @type {HTMLElement | null} */
    this.opened = null;
    /** @type {HTMLElement | null} */
    this.opener = null;
    root.addEventListener("pointerdown", (event) => {
      if (this.opened && !event.composedPath().includes(this.opened)) this.close(false);
    });
  }

  /** @param {boolean} [back] whether the focus goes back to where it was */
  close(back = true) {
    const { opened, opener } = this;
    this.opened = null;
    opened?.remove();
    this.#rest(false);
    if (opener) set(opener, { "aria-expanded": opener.hasAttribute("aria-expanded") ? "false" : null });
    if (back) opener?.focus({ preventScroll: true });
    this.opener = null;
    return opened !== null;
  }

  /** @param {boolean} inert whether what lies under the popup can be used */
  #rest(inert) {
    for (const one of /** @type {HTMLElement[]} */ ([...this.root.children])) one.inert = inert && one !== this.opened;
  }

  /**
   * @param {HTMLElement} element
   * @param {HTMLElement} opener
   */
  #open(element, opener) {
    this.close(false);
    this.opened = element;
    this.opener = opener;
    if (opener.hasAttribute("aria-expanded")) set(opener, { "aria-expanded": "true" });
    this.root.append(element);
    this.#rest(true);
    /** @type {HTMLElement | null} */ (element.querySelector("input, button"))?.focus({ preventScroll: true });
  }

  /**
   * Put a menu beside the button that opens it, where there is room.
   * @param {HTMLElement} element
   * @param {HTMLElement} opener
   */
  #openAt(element, opener) {
    if (this.opener === opener) {
      this.close();
      return;
    }
    this.#open(element, opener);
    const frame = this.root.getBoundingClientRect();
    const button = opener.getBoundingClientRect();
    const right = Math.max(8, Math.min(frame.right - button.right, frame.width - element.offsetWidth - 8));
    element.style.insetInlineEnd = `${right}px`;
    const below = button.bottom - frame.top + 4;
    const fits = below + element.offsetHeight < frame.height;
    if (fits) element.style.insetBlockStart = `${below}px`;
    else element.style.insetBlockEnd = `${Math.max(8, frame.bottom - button.top + 4)}px`;
  }

  /**
   * @param {HTMLElement} opener
   * @param {(format: string) => void} choose
   */
  showExport(opener, choose) {
    const menu = h("div", { class: "menu", part: "menu", role: "menu", "aria-label": "Export" });
    for (const [format = "", name = "", ending = ""] of FORMATS) {
      const item = h("button", { type: "button", role: "menuitem" }, name, h("span", { class: "far" }, ending));
      item.addEventListener("click", () => {
        this.close();
        choose(format);
      });
      menu.append(item);
    }
    menu.addEventListener("keydown", (event) => moveFocus(event, menu));
    this.#openAt(menu, opener);
  }

  /**
   * @param {HTMLElement} opener
   * @param {Tracks} tracks
   * @param {(label: string, on: boolean) => void} choose
   */
  showLanes(opener, tracks, choose) {
    const menu = h("div", { class: "menu", part: "menu", role: "group", "aria-label": "Lanes" });
    const items = h("div", {});
    const fill = (/** @type {string} */ wanted) => {
      const found = tracks.classes.filter((label) => label.toLowerCase().includes(wanted));
      items.replaceChildren(...found.slice(0, MAX_CHOICES).map((label) => laneChoice(tracks, label, choose)));
      if (found.length > MAX_CHOICES) items.append(h("p", { class: "none" }, `${found.length - MAX_CHOICES} more: search for them.`));
      if (found.length === 0) items.append(h("p", { class: "none" }, "No class of this name."));
    };
    if (tracks.classes.length > SEARCH_FROM) {
      const search = h("input", { type: "search", placeholder: "Find a class", "aria-label": "Find a class" });
      search.addEventListener("input", () => fill(search.value.toLowerCase()));
      menu.append(search);
    }
    menu.append(items);
    fill("");
    this.#openAt(menu, opener);
  }

  /** @param {HTMLElement} opener */
  showHelp(opener) {
    if (this.opened?.classList.contains("sheet")) {
      this.close();
      return;
    }
    const list = h("dl", { class: "keys" });
    for (const [what = "", ...keys] of KEYS) {
      const names = keys.map((key) => h("kbd", {}, key));
      list.append(h("div", {}, h("dt", {}, ...names), h("dd", {}, what)));
    }
    const close = iconButton("close", "Close", () => this.close());
    const sheet = h(
      "div",
      { class: "sheet", part: "help", role: "dialog", "aria-modal": "false", "aria-label": "Keys" },
      h("header", {}, h("h2", {}, "Keys"), close),
      list,
    );
    this.#open(sheet, opener);
  }
}

/**
 * @param {Tracks} tracks
 * @param {string} label
 * @param {(label: string, on: boolean) => void} choose
 */
function laneChoice(tracks, label, choose) {
  const box = h("input", { type: "checkbox" });
  box.checked = tracks.isOn(label);
  box.addEventListener("change", () => choose(label, box.checked));
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  const lane = tracks.lanes.get(label);
  if (lane) paintSwatch(swatch, lane.paint);
  const count = h("span", { class: "far" }, String(lane?.starts.length ?? 0));
  return h("label", {}, box, swatch, h("span", { class: "name" }, label), count);
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement} menu
 */
function moveFocus(event, menu) {
  const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("[role=menuitem]")]);
  const at = items.indexOf(/** @type {HTMLElement} */ (event.target));
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  items[(next + items.length) % items.length]?.focus();
}
