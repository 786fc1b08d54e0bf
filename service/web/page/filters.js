/**
 * Which videos the list shows.
 */

import { el, fill, freshId } from "./dom.js";
import { icon } from "./icons.js";
import { STATUS_WORDS } from "./jobwords.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./joblist.js").Filter} Filter */

const TYPING_MS = 350;

/**
 * @param {import("./context.js").PageContext} context
 * @param {(filter: Filter) => void} onChoose
 */
export function filterBar(context, onChoose) {
  const status = el(
    "select",
    { class: "select", "aria-label": "Status", onchange: choose },
    el("option", { value: "" }, "Any status"),
    STATUS_WORDS.map(([value, words]) => el("option", { value }, words)),
  );
  const camera = wordField("Camera");
  const tag = wordField("Tag");
  const clear = el("button", { type: "button", class: "button quiet small", hidden: true, onclick: () => onChoose({ status: "", tag: "", camera: "" }) }, icon("close"), "Clear");
  let timer = 0;

  function choose() {
    clearTimeout(timer);
    onChoose({ status: status.value, tag: tag.input.value.trim(), camera: camera.input.value.trim() });
  }

  for (const { input } of [camera, tag]) {
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(choose, TYPING_MS);
    });
    input.addEventListener("change", choose);
  }
  context.signal.addEventListener("abort", () => clearTimeout(timer));

  return {
    element: el("div", { class: "filters", role: "search", "aria-label": "Filter the videos" }, status, camera.element, tag.element, clear),

    /** @param {Filter} filter */
    show(filter) {
      status.value = filter.status;
      if (status.value !== filter.status) status.value = "";
      // Nobody's typing is overwritten.
      if (document.activeElement !== camera.input) camera.input.value = filter.camera;
      if (document.activeElement !== tag.input) tag.input.value = filter.tag;
      clear.hidden = Object.values(filter).every((value) => value === "");
    },

    /**
     * Offer what the listed jobs have.
     * @param {Job[]} jobs
     */
    offer(jobs) {
      camera.offer(jobs.map((job) => job.camera));
      tag.offer(jobs.map((job) => job.tag));
    },

    get cameras() {
      return camera.known();
    },
  };
}

/** @param {string} words */
function wordField(words) {
  const list = el("datalist", { id: freshId("words") });
  const input = el("input", { class: "input", type: "search", list: list.id, placeholder: words, "aria-label": words, maxlength: 255, autocomplete: "off" });
  /** @type {Set<string>} */
  const known = new Set();
  return {
    input,
    element: el("div", { class: "filter-word" }, input, list),
    known: () => [...known].sort(),

    /** @param {(string | null)[]} values */
    offer(values) {
      const before = known.size;
      for (const value of values) if (value !== null) known.add(value);
      if (known.size > before) fill(list, [...known].sort().map((value) => el("option", { value })));
    },
  };
}
