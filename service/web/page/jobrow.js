/**
 * One job in the list: picture, name, what was found or what is going on, and what can be done.
 */

import { el, fill, say } from "./dom.js";
import { ago, clock, dateTime } from "./format.js";
import { icon } from "./icons.js";
import { hasEnded, progressWords, statusWords } from "./jobwords.js";
import { jobHash } from "./router.js";
import { colorOf, drawStrip, labelCounts } from "./strip.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./strip.js").Finding} Finding */

const MAX_LABELS = 4;

/**
 * @typedef {object} RowActions
 * @property {(job: Job) => void} onCancel
 * @property {(job: Job) => void} onRetry
 * @property {(job: Job) => void} onDelete
 */

/** A row, kept true by `update`. */
export class JobRow {
  /** @type {Finding | null} */
  finding = null;
  hasPicture = false;
  numPictureTries = 0;
  #shape = "";
  #pill = el("span", { class: "pill" });
  #facts = el("p", { class: "job-facts" });
  #state = el("div", { class: "job-state" });
  #actions = el("div", { class: "job-actions" });
  #length = el("span", { class: "job-length" });
  #barWords = el("p", { class: "job-progress-words" });
  #bar = el("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, el("span"));
  #strip = el("canvas", { class: "strip", "aria-hidden": "true" });
  #counts = el("ul", { class: "counts", "aria-label": "Found actions" });

  /**
   * @param {Job} job
   * @param {RowActions} actions
   */
  constructor(job, actions) {
    this.job = job;
    this.actions = actions;
    this.canvas = el("canvas", { class: "job-picture", width: "16", height: "9" });
    this.link = el("a", { href: jobHash(job.id) }, el("bdi", {}, job.video.name));
    this.element = el(
      "li",
      { class: "job", dataset: { job: job.id } },
      el("a", { class: "job-poster", href: jobHash(job.id), tabindex: "-1", "aria-hidden": "true" }, icon("film"), this.canvas, this.#length),
      el("div", { class: "job-main" }, el("h2", { class: "job-name" }, this.link), this.#facts, this.#state),
      el("div", { class: "job-side" }, this.#pill, this.#actions),
    );
    this.update(job);
  }

  /** @param {Job} job */
  update(job) {
    this.job = job;
    this.#pill.className = `pill ${job.status}`;
    say(this.#pill, statusWords(job));
    const { duration } = job.video;
    say(this.#length, duration === null ? "" : clock(duration));
    this.#showFacts(job);
    const shape = `${job.status} ${job.cancel_requested}`;
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#showState(job);
      this.#showActions(job);
    }
    if (!hasEnded(job)) this.#showProgress(job);
  }

  /**
   * @param {Finding} finding
   * @param {"light" | "dark"} theme
   */
  showFinding(finding, theme) {
    this.finding = finding;
    const found = labelCounts(finding);
    const shown = found.slice(0, MAX_LABELS);
    const rest = found.length - shown.length;
    const chips = shown.map(([label, number]) => {
      const dot = el("span", { class: "dot" });
      dot.dataset.label = label;
      return el("li", { class: "count" }, dot, el("bdi", {}, label), el("span", { class: "muted" }, `×${number}`));
    });
    fill(this.#counts, chips, rest > 0 && el("li", { class: "muted" }, `and ${rest} more`));
    if (found.length === 0) fill(this.#counts, el("li", { class: "muted" }, "None of the actions was found."));
    this.paint(theme);
  }

  /**
   * Draw what has colours of the theme.
   * @param {"light" | "dark"} theme
   */
  paint(theme) {
    if (this.finding === null) return;
    for (const dot of /** @type {NodeListOf<HTMLElement>} */ (this.#counts.querySelectorAll(".dot"))) {
      dot.style.backgroundColor = colorOf(this.finding, dot.dataset.label ?? "", theme);
    }
    drawStrip(this.#strip, this.finding, theme);
  }

  /** @param {Job} job */
  #showFacts(job) {
    const words = [
      job.camera !== null && part("camera", job.camera),
      job.tag !== null && part("tag", job.tag),
      el("span", {}, job.model),
      el("time", { datetime: job.created_at, title: dateTime(job.created_at) }, ago(job.created_at)),
    ];
    const key = words.map((one) => (one === false ? "" : one.textContent)).join("\n");
    if (this.#facts.dataset.shown === key) return;
    this.#facts.dataset.shown = key;
    fill(this.#facts, words);
  }

  /** @param {Job} job */
  #showState(job) {
    if (job.status === "succeeded") {
      fill(this.#state, this.#strip, this.#counts);
    } else if (job.status === "failed") {
      const { message, code } = job.error ?? { message: "It failed.", code: "" };
      fill(this.#state, el("p", { class: "job-error" }, message, " ", el("code", { class: "code" }, code)));
    } else if (job.status === "canceled") {
      fill(this.#state, el("p", { class: "muted" }, "It was stopped before its end. What was computed is kept: a retry goes on from there."));
    } else {
      fill(this.#state, this.#barWords, this.#bar);
      this.#bar.setAttribute("aria-label", `Progress of ${job.video.name}`);
    }
  }

  /** @param {Job} job */
  #showProgress(job) {
    say(this.#barWords, progressWords(job));
    this.#bar.classList.toggle("still", job.status === "queued");
    this.#bar.style.setProperty("--share", String(job.progress));
    this.#bar.setAttribute("aria-valuenow", String(Math.floor(job.progress * 100)));
    this.#bar.setAttribute("aria-valuetext", progressWords(job));
  }

  /** @param {Job} job */
  #showActions(job) {
    const { onCancel, onRetry, onDelete } = this.actions;
    /** @type {[string, string, (job: Job) => void][]} */
    const wanted = [];
    if (!hasEnded(job) && !job.cancel_requested) wanted.push(["stop", "Cancel", onCancel]);
    if (job.status === "failed" || job.status === "canceled") wanted.push(["retry", "Retry", onRetry]);
    wanted.push(["trash", "Delete", onDelete]);
    const before = this.#actions.contains(document.activeElement);
    fill(
      this.#actions,
      wanted.map(([shape, words, does]) =>
        el(
          "button",
          { type: "button", class: "button quiet square", title: words, "aria-label": `${words}: ${job.video.name}`, onclick: () => does(this.job) },
          icon(shape),
        ),
      ),
    );
    // Whoever stands on a button that went stays in this row.
    if (before) /** @type {HTMLElement | null} */ (this.#actions.querySelector("button"))?.focus();
  }
}

/**
 * @param {string} shape
 * @param {string} text
 */
function part(shape, text) {
  return el("span", { class: "job-part" }, icon(shape), el("bdi", { class: "truncate" }, text));
}
