/**
 * Threshold and minimum score. The threshold shows a preview at once and asks the service for the
 * exact answer; of several questions only the last one counts. The minimum score needs nobody.
 */

import { isAbort } from "./api.js";
import { h, iconButton, say, set } from "./dom.js";

/** @typedef {import("./types.js").Choice} Choice */
/** @typedef {import("./types.js").Segment} Segment */

/** @typedef {object} TuningHost
 * @property {(level: number) => void} preview shows what a threshold would leave
 * @property {(choice: Choice, signal: AbortSignal) => Promise<Segment[]>} ask the exact answer
 * @property {(segments: Segment[], choice: Choice) => void} exact shows it
 * @property {() => void} own shows the job's own segments again
 * @property {(error: unknown) => void} failed
 * @property {(score: number) => void} minScore
 */

/** A hand that moves a slider pauses for longer than this when it has found its place. */
const ASK_AFTER_MS = 120;
const STEP = 0.01;
const MIDDLE = 0.5;

export class Tuning {
  /** @param {TuningHost} host */
  constructor(host) {
    this.host = host;
    /** @type {number | null} null is the model's own */
    this.level = null;
    /** Whether the threshold is one of classes: for models that cut no curve. */
    this.ofClasses = false;
    /** @type {Choice} */
    this.choice = {};
    /** @type {AbortController | null} */
    this.asking = null;
    this.timer = 0;
    this.threshold = range("threshold", { min: STEP, max: 1 - STEP, value: MIDDLE });
    this.score = range("min-score", { min: 0, max: 1, value: 0 });
    this.level$ = h("output", { for: "threshold", class: "own" }, "Model’s own");
    this.score$ = h("output", { for: "min-score" }, "0.00");
    this.name = h("label", { for: "threshold" }, "Threshold");
    this.reset = iconButton("reset", "Back to the model’s own (\\)", () => this.back(), { disabled: true });
    this.tally = h("span", { class: "tally", role: "status" });
    this.elements = [
      h("div", { class: "slider", part: "threshold" }, this.name, this.threshold, this.level$, this.reset),
      h("div", { class: "slider", part: "min-score" }, h("label", { for: "min-score" }, "Min. score"), this.score, this.score$),
      this.tally,
    ];
    this.threshold.addEventListener("input", () => this.setLevel(Number(this.threshold.value)));
    this.score.addEventListener("input", () => this.setMinScore(Number(this.score.value)));
    this.#show();
  }

  /**
   * Begin with a new job.
   * @param {{canAsk: boolean, ofClasses: boolean, minScore: number}} facts
   */
  begin({ canAsk, ofClasses, minScore }) {
    this.stop();
    this.level = null;
    this.choice = {};
    this.setUsable(canAsk, ofClasses);
    this.score.value = String(minScore);
    this.threshold.value = String(MIDDLE);
    this.#show();
  }

  /**
   * @param {boolean} canAsk
   * @param {boolean} ofClasses
   */
  setUsable(canAsk, ofClasses) {
    this.ofClasses = ofClasses;
    this.threshold.disabled = !canAsk;
    say(this.name, ofClasses ? "Class threshold" : "Threshold");
    const why = "No evidence was kept for this job: its segments cannot be cut anew.";
    set(this.threshold, { title: canAsk ? null : why });
    if (!canAsk) say(this.level$, "No evidence");
    else this.#show();
  }

  /** Ask nothing any more. */
  stop() {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.asking = null;
  }

  /** @param {number} level */
  setLevel(level) {
    if (this.threshold.disabled) return;
    const rounded = Math.round(Math.min(1 - STEP, Math.max(STEP, level)) / STEP) * STEP;
    this.level = Number(rounded.toFixed(2));
    this.threshold.value = String(this.level);
    this.#show();
    this.host.preview(this.level);
    this.stop();
    const choice = this.ofClasses ? { class_threshold: this.level } : { thresholds: [this.level] };
    this.timer = setTimeout(() => this.ask(choice).catch(() => {}), ASK_AFTER_MS);
  }

  /** @param {1 | -1} direction */
  nudge(direction) {
    this.setLevel((this.level ?? MIDDLE) + direction * 5 * STEP);
  }

  /** Go back to the job's own segments. */
  back() {
    if (this.level === null && Object.keys(this.choice).length === 0) return;
    this.stop();
    this.level = null;
    this.choice = {};
    this.threshold.value = String(MIDDLE);
    this.#show();
    this.host.own();
  }

  /**
   * Ask for the exact segments of a choice; whatever was asked before is given up.
   * @param {Choice} choice
   * @returns {Promise<Segment[] | null>} null where something else was asked meanwhile
   */
  async ask(choice) {
    this.stop();
    const asking = (this.asking = new AbortController());
    this.reset.disabled = false;
    try {
      const segments = await this.host.ask(choice, asking.signal);
      if (asking.signal.aborted) return null;
      this.choice = choice;
      this.host.exact(segments, choice);
      return segments;
    } catch (error) {
      if (isAbort(error) || asking.signal.aborted) return null;
      this.host.failed(error);
      throw error;
    } finally {
      if (this.asking === asking) this.asking = null;
    }
  }

  /**
   * Show where a choice made elsewhere has put the threshold.
   * @param {Choice} choice
   */
  follow(choice) {
    const cuts = this.ofClasses ? [choice.class_threshold ?? null] : (choice.thresholds ?? []);
    this.level = cuts.length === 1 ? (cuts[0] ?? null) : null;
    this.threshold.value = String(this.level ?? MIDDLE);
    this.#show();
    this.reset.disabled = Object.keys(choice).length === 0;
  }

  /** @param {number} score */
  setMinScore(score) {
    const held = Math.min(1, Math.max(0, score));
    this.score.value = String(held);
    this.#show();
    this.host.minScore(held);
  }

  #show() {
    const own = this.level === null;
    if (!this.threshold.disabled) {
      say(this.level$, own ? "Model’s own" : (this.level ?? 0).toFixed(2));
    }
    this.level$.classList.toggle("own", own);
    this.threshold.classList.toggle("own", own);
    set(this.threshold, { "aria-valuetext": own ? "the model’s own" : null });
    this.reset.disabled = own && Object.keys(this.choice).length === 0;
    say(this.score$, Number(this.score.value).toFixed(2));
    for (const one of [this.threshold, this.score]) {
      const share = (Number(one.value) - Number(one.min)) / (Number(one.max) - Number(one.min));
      one.style.setProperty("--share", String(share));
    }
  }
}

/**
 * @param {string} id
 * @param {{min: number, max: number, value: number}} facts
 */
function range(id, { min, max, value }) {
  return h("input", { type: "range", id, min, max, step: STEP, value, autocomplete: "off" });
}
