/**
 * The wall of clips: one card per segment, which plays when it is pointed at or has the focus.
 */

import { clock } from "./format.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { onMove, Rendered, rowsNear } from "./search-window.js";
import { segmentAddress } from "./search-results.js";
import { lasting, momentInWords, scoreInWords } from "./search-words.js";

/** @typedef {import("./search-results.js").Segment} Segment */
/** @typedef {import("./search-posters.js").Posters} Posters */
/** @typedef {import("./search-player.js").ClipPlayer} ClipPlayer */

/** Measures of cards, in rem. */
const GAP_REM = 1.1;
const LEAST_CARD_REM = 16.5;
const CAPTION_REM = 6.7;

/** Height of a picture by its width. */
const PICTURE_RATIO = 9 / 16;

/** Pictures are drawn a little before they come onto the screen. */
const DRAW_MARGIN = "200px 0px";

/**
 * @typedef {object} WallParts
 * @property {Posters} posters
 * @property {ClipPlayer} player
 * @property {import("./search-colors.js").LabelColors} colors
 * @property {() => boolean} plays whether clips play when they are pointed at; else by a button.
 * @property {(canvas: HTMLCanvasElement, segment: Segment) => void} onBlurred is told of a picture
 *   on the screen that is not taken from the clip itself.
 * @property {AbortSignal} signal
 */

/** Shows segments as cards. */
export class Wall {
  /** @param {WallParts} parts */
  constructor(parts) {
    this.parts = parts;
    this.element = el("ul", { class: "clips", role: "list", "aria-label": "Clips" });
    /** @type {readonly Segment[]} */
    this.segments = [];
    this.complete = false;
    this.columns = 1;
    /** @type {Element | null} a card that somebody stopped: it stays still until he goes on. */
    this.stopped = null;
    /** @type {WeakMap<Element, Segment>} */
    this.shown = new WeakMap();
    this.rendered = new Rendered(
      this.element,
      (/** @type {Segment} */ segment) => this.card(segment),
      (card) => this.release(card),
    );
    this.observer = new IntersectionObserver((entries) => this.onSeen(entries), {
      rootMargin: DRAW_MARGIN,
    });
    parts.signal.addEventListener("abort", () => this.observer.disconnect());
    onMove(this.element, () => this.layout(), parts.signal);
    this.element.addEventListener("keydown", (event) => this.onKey(event));
    this.element.addEventListener("focusin", (event) => this.onPoint(event, false));
    this.element.addEventListener("focusout", () => parts.player.stop());
    this.element.addEventListener("pointerover", (event) => this.onPoint(event, true));
    this.element.addEventListener("pointerleave", () => this.onLeave());
  }

  /**
   * Show these; what is shown of them already stays as it is.
   * @param {readonly Segment[]} segments
   * @param {boolean} complete whether there are no more.
   */
  show(segments, complete) {
    if (segments[0] !== this.segments[0]) this.rendered.clear();
    this.segments = segments;
    this.complete = complete;
    this.layout();
  }

  /** Place the cards that are near the screen. */
  layout() {
    const width = this.element.clientWidth;
    if (width === 0) return;
    const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    const gap = GAP_REM * rem;
    this.columns = Math.max(1, Math.floor((width + gap) / (LEAST_CARD_REM * rem + gap)));
    const cardWidth = (width - gap * (this.columns - 1)) / this.columns;
    const cardHeight = Math.round(cardWidth * PICTURE_RATIO + CAPTION_REM * rem);
    const rowHeight = cardHeight + gap;
    const numRows = Math.ceil(this.segments.length / this.columns);
    this.element.style.height = `${Math.max(0, numRows * rowHeight - gap)}px`;
    const { top } = this.element.getBoundingClientRect();
    const rows = rowsNear(top, window.innerHeight, rowHeight, numRows);
    const range = {
      first: rows.first * this.columns,
      end: Math.min(rows.end * this.columns, this.segments.length),
    };
    const size = this.complete ? this.segments.length : -1;
    this.rendered.show(this.segments, range, (card, index) => {
      const column = index % this.columns;
      const row = Math.floor(index / this.columns);
      card.style.width = `${cardWidth}px`;
      card.style.height = `${cardHeight}px`;
      card.style.transform = `translate(${column * (cardWidth + gap)}px, ${row * rowHeight}px)`;
      card.setAttribute("aria-posinset", String(index + 1));
      card.setAttribute("aria-setsize", String(size));
      card.dataset["index"] = String(index);
    });
  }

  /** @param {Segment} segment */
  card(segment) {
    const picture = el("canvas", { class: "clip-picture", "aria-hidden": "true", width: "0", height: "0" });
    const stage = el(
      "div",
      { class: "clip-stage" },
      el("span", { class: "clip-blank" }, icon("film")),
      picture,
      el("span", { class: "clip-length" }, el("span", { class: "hidden-text" }, "Length "), lasting(segment.end - segment.start)),
    );
    const open = el(
      "a",
      { class: "clip-open", href: segmentAddress(segment) },
      stage,
      el("div", { class: "clip-caption" }, this.headline(segment), this.scoreBar(segment), ...whereabouts(segment)),
    );
    const card = el("li", { class: "clip" }, open);
    if (!this.parts.plays()) card.append(this.playButton(stage, segment));
    this.shown.set(card, segment);
    this.observer.observe(card);
    return card;
  }

  /** @param {Segment} segment */
  headline(segment) {
    return el(
      "p",
      { class: "clip-headline" },
      el("strong", { class: "clip-label", title: segment.label }, segment.label),
      el(
        "span",
        { class: "clip-score" },
        el("span", { class: "hidden-text" }, "score "),
        scoreInWords(segment.score),
      ),
    );
  }

  /** @param {Segment} segment */
  scoreBar(segment) {
    const filled = el("span");
    filled.style.width = `${(100 * segment.score).toFixed(1)}%`;
    this.parts.colors.paint(filled, segment.label);
    return el("span", { class: "clip-bar", "aria-hidden": "true" }, filled);
  }

  /**
   * @param {HTMLElement} stage
   * @param {Segment} segment
   */
  playButton(stage, segment) {
    const button = el("button", {
      type: "button",
      class: "clip-play",
      "aria-label": `Play or stop ${segment.label}`,
      onclick: () => {
        if (this.parts.player.isAt(stage)) this.parts.player.stop();
        else this.parts.player.start({ place: stage, segment });
      },
    });
    button.append(icon("play"));
    return button;
  }

  /** @param {HTMLElement} card */
  release(card) {
    this.observer.unobserve(card);
    const stage = card.querySelector(".clip-stage");
    if (stage instanceof HTMLElement && this.parts.player.isAt(stage)) this.parts.player.stop();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      const segment = this.shown.get(target);
      const canvas = target.querySelector("canvas");
      if (!isIntersecting || !segment || !canvas) continue;
      this.observer.unobserve(target);
      void this.draw(canvas, segment);
    }
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Segment} segment
   */
  async draw(canvas, segment) {
    const wanted = () => canvas.isConnected && !this.parts.signal.aborted;
    // At once: a strip may have to be drawn first, and a video may have none.
    if (!this.parts.posters.isSharp(segment)) this.parts.onBlurred(canvas, segment);
    if (await this.parts.posters.draw(canvas, segment, wanted)) canvas.classList.add("is-drawn");
  }

  /**
   * @param {Event} event
   * @param {boolean} pointed whether by a pointer, else by the focus.
   */
  onPoint(event, pointed) {
    const target = event.target instanceof Element ? event.target : null;
    const card = target?.closest(".clip");
    const segment = card && this.shown.get(card);
    const stage = card?.querySelector(".clip-stage");
    if (!this.parts.plays()) return;
    if (!segment || !(stage instanceof HTMLElement)) {
      if (pointed) this.parts.player.stop();
      return;
    }
    // A click focuses too, and leads away; only the focus that is seen plays.
    if (!pointed && !target?.matches(":focus-visible")) return;
    if (card === this.stopped) return;
    this.stopped = null;
    this.parts.player.start({ place: stage, segment }, { soon: true });
  }

  /** A pointer has left the wall; a finger that scrolls does so too, and stops nothing. */
  onLeave() {
    this.stopped = null;
    if (this.parts.plays()) this.parts.player.stop();
  }

  onEscape() {
    this.stopped = this.element.querySelector(".clip:has([data-clip])");
    this.parts.player.stop();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const card = event.target instanceof Element ? event.target.closest(".clip") : null;
    if (event.key === "Escape") this.onEscape();
    if (!(card instanceof HTMLElement) || event.altKey || event.ctrlKey || event.metaKey) return;
    const index = Number(card.dataset["index"]);
    const goals = new Map([
      ["ArrowLeft", index - 1],
      ["ArrowRight", index + 1],
      ["ArrowUp", index - this.columns],
      ["ArrowDown", index + this.columns],
      ["Home", 0],
      ["End", this.segments.length - 1],
    ]);
    const goal = goals.get(event.key);
    if (goal === undefined) return;
    event.preventDefault();
    if (goal >= 0 && goal < this.segments.length) this.focus(goal);
  }

  /**
   * Give a card the focus, wherever it is.
   * @param {number} index
   */
  focus(index) {
    if (!this.rendered.elements.has(index)) {
      const row = Math.floor(index / this.columns);
      const numRows = Math.max(1, Math.ceil(this.segments.length / this.columns));
      const { top, height } = this.element.getBoundingClientRect();
      window.scrollBy({ top: top + (row / numRows) * height - window.innerHeight / 2 });
      this.layout();
    }
    const link = this.rendered.elements.get(index)?.querySelector("a");
    link?.focus({ preventScroll: true });
    link?.scrollIntoView({ block: "nearest" });
  }
}

/**
 * Say where and when: camera and wall-clock time where they are known, else video and place in it.
 * @param {Segment} segment
 */
function whereabouts(segment) {
  const where = segment.camera ?? segment.video.name;
  const inVideo = `${clock(Math.floor(segment.start))} in the video`;
  const when = segment.start_time
    ? el("time", { datetime: segment.start_time, title: inVideo }, momentInWords(segment.start_time))
    : el("span", {}, inVideo);
  return [
    el(
      "p",
      { class: "clip-where", title: segment.camera ? segment.video.name : null },
      icon(segment.camera ? "camera" : "file"),
      el("span", {}, where),
    ),
    el("p", { class: "clip-when" }, icon("clock"), when),
  ];
}
