/** The panel of filters: labels, score, cameras, time, length, tags. */

import { el, freshId, say } from "./dom.js";
import { ChoiceField } from "./search-choice.js";
import { CHOICES, EVERYTHING, WITHIN } from "./search-state.js";
import { localInput, momentOfInput, scoreInWords } from "./search-words.js";

/** @typedef {import("./search-state.js").Search} Search */
/** @typedef {import("./search-state.js").Choice} Choice */
/** @typedef {import("./search-choice.js").Option} Option */

/** @typedef {Record<Choice, readonly Option[]>} Facets what occurs, and how often. */

/** The thumb of the slider moves by this much. */
const SCORE_STEP = 0.01;

const TITLES = {
  labels: { title: "Labels", noun: "label" },
  cameras: { title: "Cameras", noun: "camera" },
  tags: { title: "Tags", noun: "tag" },
};

/** Shows a search as controls, and tells what somebody makes of it. */
export class Filters {
  /**
   * @param {(change: Partial<Search>, still: boolean) => void} onChange `still`: it goes on, as
   *   while a slider is dragged.
   * @param {import("./search-colors.js").LabelColors} colors
   */
  constructor(onChange, colors) {
    this.onChange = onChange;
    this.colors = colors;
    this.fields = {
      labels: this.choice("labels"),
      cameras: this.choice("cameras"),
      tags: this.choice("tags"),
    };
    this.score = this.scoreField();
    this.time = this.timeField();
    this.length = this.lengthField();
    this.element = el(
      "div",
      { class: "search-filters" },
      this.fields.labels.element,
      this.score.element,
      this.time.element,
      this.fields.cameras.element,
      this.length.element,
      this.fields.tags.element,
    );
  }

  /**
   * @param {Search} search
   * @param {Facets} facets
   */
  show(search, facets) {
    for (const choice of CHOICES) this.fields[choice].show(facets[choice], search[choice]);
    this.score.show(search);
    this.time.show(search);
    this.length.show(search);
  }

  /** @param {Choice} choice */
  choice(choice) {
    return new ChoiceField({
      ...TITLES[choice],
      ...(choice === "labels" && { colors: this.colors }),
      onChange: (values) => this.onChange({ [choice]: values }, false),
    });
  }

  scoreField() {
    const id = freshId("score");
    const said = el("output", { for: id, class: "filter-said" });
    const slider = el("input", { id, type: "range", class: "slider", min: 0, max: 1, step: SCORE_STEP });
    const write = () => {
      const score = slider.valueAsNumber;
      say(said, score > 0 ? `${scoreInWords(score)} or more` : "any");
      slider.setAttribute("aria-valuetext", score > 0 ? `${scoreInWords(score)} or more` : "any score");
      slider.style.setProperty("--filled", `${100 * score}%`);
    };
    const tell = (/** @type {boolean} */ still) => {
      write();
      this.onChange({ minScore: slider.valueAsNumber }, still);
    };
    slider.addEventListener("input", () => tell(true));
    slider.addEventListener("change", () => tell(false));
    return {
      element: el(
        "div",
        { class: "filter" },
        el("div", { class: "filter-head" }, el("label", { for: id, class: "filter-title" }, "Score"), said),
        slider,
      ),
      /** @param {Search} search */
      show: ({ minScore }) => {
        // While it is dragged it is ahead of everything else.
        if (!slider.matches(":active")) slider.value = String(minScore);
        write();
      },
    };
  }

  timeField() {
    const name = freshId("within");
    /** @type {(value: string, text: string, title?: string) => {box: HTMLInputElement, line: HTMLElement}} */
    const choice = (value, text, title) => {
      const box = el("input", {
        type: "radio",
        name,
        value,
        class: "hidden-text",
        onchange: () => this.onChange({ within: value, since: "", until: "" }, false),
      });
      const last = value !== "" && el("span", { class: "hidden-text" }, "last ");
      return { box, line: el("label", { class: "range", title }, box, el("span", {}, last, text)) };
    };
    const any = choice("", "Any");
    const ranges = Object.entries(WITHIN).map(([value, range]) => choice(value, range.short, range.text));
    const since = this.momentInput("From", "since");
    const until = this.momentInput("To", "until");
    const boxes = [any, ...ranges].map((one) => one.box);
    const exact = el(
      "details",
      { class: "range-exact" },
      el("summary", {}, "From … to …"),
      el("div", { class: "search-pair" }, since.element, until.element),
    );
    return {
      element: el(
        "fieldset",
        { class: "filter" },
        el("legend", {}, "Time"),
        el("div", { class: "ranges" }, any.line, ranges.map((one) => one.line)),
        exact,
      ),
      /** @param {Search} search */
      show: (search) => {
        const absolute = Boolean(search.since || search.until);
        for (const box of boxes) box.checked = !absolute && box.value === search.within;
        if (absolute) exact.open = true;
        since.show(search.since);
        until.show(search.until);
      },
    };
  }

  /**
   * @param {string} text
   * @param {"since" | "until"} key
   */
  momentInput(text, key) {
    const input = el("input", { type: "datetime-local", class: "input", max: "9999-12-31T23:59" });
    input.addEventListener("change", () => {
      this.onChange({ [key]: momentOfInput(input.value), within: "" }, false);
    });
    return {
      element: el("label", { class: "field" }, el("span", { class: "hint" }, text), input),
      /** @param {string} moment */
      show: (moment) => {
        if (document.activeElement !== input) input.value = localInput(moment);
      },
    };
  }

  lengthField() {
    const least = this.secondsInput("At least", "minDuration");
    const most = this.secondsInput("At most", "maxDuration");
    return {
      element: el(
        "fieldset",
        { class: "filter" },
        el("legend", {}, "Length"),
        el("div", { class: "search-pair" }, least.element, most.element),
      ),
      /** @param {Search} search */
      show: ({ minDuration, maxDuration }) => {
        least.show(minDuration);
        most.show(maxDuration);
      },
    };
  }

  /**
   * @param {string} text
   * @param {"minDuration" | "maxDuration"} key
   */
  secondsInput(text, key) {
    const input = el("input", {
      type: "number",
      class: "input",
      min: 0,
      step: "any",
      inputmode: "decimal",
      placeholder: "any",
    });
    const tell = (/** @type {boolean} */ still) => {
      if (!input.validity.valid) return;
      const seconds = input.value === "" ? EVERYTHING[key] : input.valueAsNumber;
      this.onChange({ [key]: seconds }, still);
    };
    input.addEventListener("input", () => tell(true));
    input.addEventListener("change", () => tell(false));
    return {
      element: el(
        "label",
        { class: "field" },
        el("span", { class: "hint" }, `${text}, in seconds`),
        input,
      ),
      /** @param {number | null} seconds */
      show: (seconds) => {
        if (document.activeElement !== input) input.value = seconds === null ? "" : String(seconds);
      },
    };
  }
}
