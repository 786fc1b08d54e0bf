/**
 * When the chosen files were recorded: unknown, unless whoever adds them says how to tell.
 */

import { el, freshId } from "./dom.js";
import { dateTime } from "./format.js";
import { localText, momentOfName } from "./files.js";

/** @typedef {"unknown" | "name" | "file" | "given"} Way */

/** @type {Record<Way, string>} */
const WORDS = {
  unknown: "Not known",
  name: "Read it from the file name",
  file: "Take the file's date",
  given: "Let me say",
};

/** @type {Record<Way, string>} */
const HINTS = {
  unknown: "With it, segments have absolute times, and search finds them by date.",
  name: "For names like cam3_2026-03-01_09-00-00.mp4, in your time zone.",
  file: "Recorders mostly write this date at a recording's end; copies may have another.",
  given: "The moment of the first frame, in your time zone.",
};

/**
 * Make the fields in which it is chosen.
 * @param {() => void} onChange
 */
export function recordingChoice(onChange) {
  /** @type {Way} */
  let way = "unknown";
  const selectId = freshId("recorded");
  const given = el("input", { class: "input", type: "datetime-local", step: "1", "aria-label": "Moment of the first frame", hidden: true, onchange: onChange });
  const hint = el("p", { class: "hint", id: freshId("hint") }, HINTS.unknown);
  const options = Object.entries(WORDS).map(([value, words]) => el("option", { value }, words));
  const select = el("select", { class: "select", id: selectId, "aria-describedby": hint.id }, options);

  select.addEventListener("change", () => {
    way = /** @type {Way} */ (select.value);
    given.hidden = way !== "given";
    if (way === "given" && given.value === "") given.value = localText(new Date());
    hint.textContent = HINTS[way];
    onChange();
  });

  /**
   * @param {File} file
   * @returns {Date | null}
   */
  function momentOf(file) {
    if (way === "name") return momentOfName(file.name);
    if (way === "file") return new Date(file.lastModified);
    if (way !== "given" || given.value === "") return null;
    const moment = new Date(given.value);
    return Number.isNaN(moment.getTime()) ? null : moment;
  }

  return {
    element: el("div", { class: "field" }, el("label", { for: selectId }, "Recorded at"), select, given, hint),

    /**
     * The moment of a file's first frame, as the service takes it.
     * @param {File} file
     */
    of: (file) => momentOf(file)?.toISOString() ?? null,

    /**
     * What is going to be said of a file; "" where nothing.
     * @param {File} file
     */
    wordsOf(file) {
      if (way === "unknown") return "";
      const moment = momentOf(file);
      return moment === null ? "no date in the name" : `recorded ${dateTime(moment.toISOString())}`;
    },
  };
}
