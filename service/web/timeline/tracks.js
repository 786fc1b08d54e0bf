/**
 * The segments of one video, sorted into lanes for drawing and finding. No drawing here.
 *
 * Twenty thousand segments are looked at in every frame that is drawn, so what drawing needs lies in
 * typed arrays, and what a threshold hides is skipped and not taken out.
 */

import { colorSlots } from "./colors.js";

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./curves.js").Curves} Curves */

/** Everything of one class. */
export class Lane {
  /**
   * @param {string} label
   * @param {number} paint number of its colour
   */
  constructor(label, paint) {
    this.label = label;
    this.paint = paint;
    /** Segments in order of their starts: times, scores, and where they stand in the answer. */
    this.starts = new Float64Array(0);
    this.ends = new Float64Array(0);
    this.scores = new Float32Array(0);
    this.places = new Int32Array(0);
    /** The longest segment, so that a search to the left knows where to stop. */
    this.longest = 0;
    /** How many a minimum score leaves. */
    this.count = 0;
    /** @type {Float64Array | null} runs above a threshold, shown until the exact answer is here */
    this.preview = null;
  }

  /**
   * @param {Segment[]} segments
   * @param {number[]} places of this lane's segments
   */
  fill(segments, places) {
    const sorted = places
      .map((place) => ({ place, segment: /** @type {Segment} */ (segments[place]) }))
      .sort((a, b) => a.segment.start - b.segment.start);
    this.starts = Float64Array.from(sorted, ({ segment }) => segment.start);
    this.ends = Float64Array.from(sorted, ({ segment }) => segment.end);
    this.scores = Float32Array.from(sorted, ({ segment }) => segment.score);
    this.places = Int32Array.from(sorted, ({ place }) => place);
    this.longest = sorted.reduce((most, { segment }) => Math.max(most, segment.end - segment.start), 0);
  }

  /**
   * The first segment that can reach into a window that begins here.
   * @param {number} seconds
   */
  firstNear(seconds) {
    let low = 0;
    let high = this.starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (/** @type {number} */ (this.starts[middle]) < seconds - this.longest) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** All lanes, and which of their segments a minimum score and the labels asked for leave. */
export class Tracks {
  constructor() {
    /** @type {Segment[]} as answered, best first */
    this.segments = [];
    /** @type {string[]} every class there is, in the model's order */
    this.classes = [];
    /** @type {Map<string, Lane>} */
    this.lanes = new Map();
    /** @type {Set<string>} labels whose lane is on screen without anybody asking */
    this.natural = new Set();
    /** @type {Map<string, boolean>} labels whose lane somebody asked for or put away */
    this.wished = new Map();
    /** @type {string[] | null} the only labels to show at all; null for any */
    this.only = null;
    this.minScore = 0;
    /** @type {number[]} places of what is shown, in the order of the answer */
    this.shown = [];
    /** @type {number[]} the same, in order of time */
    this.shownByTime = [];
  }

  /**
   * Take the segments of a new video.
   * @param {Segment[]} segments
   * @param {string[]} classes every class known, segments' own are added
   */
  begin(segments, classes) {
    this.lanes.clear();
    this.natural.clear();
    this.wished.clear();
    this.classes = [];
    this.addClasses(classes);
    this.setSegments(segments);
  }

  /**
   * Make room for classes and colour them all anew; those there are keep their order.
   * @param {Iterable<string>} labels
   */
  addClasses(labels) {
    for (const label of labels) {
      if (this.lanes.has(label)) continue;
      this.lanes.set(label, new Lane(label, 0));
      this.classes.push(label);
    }
    for (const [label, slot] of colorSlots(this.classes)) {
      const lane = this.lanes.get(label);
      if (lane) lane.paint = slot;
    }
  }

  /**
   * Take other segments of the same video.
   * @param {Segment[]} segments
   */
  setSegments(segments) {
    this.segments = segments;
    /** @type {Map<string, number[]>} */
    const places = new Map();
    segments.forEach(({ label }, place) => {
      const known = places.get(label);
      if (known) known.push(place);
      else places.set(label, [place]);
    });
    if ([...places.keys()].some((label) => !this.lanes.has(label))) this.addClasses(places.keys());
    for (const label of places.keys()) this.natural.add(label);
    for (const [label, lane] of this.lanes) {
      lane.fill(segments, places.get(label) ?? []);
      lane.preview = null;
    }
    this.#choose();
  }

  /** @param {number} score below which segments are hidden */
  setMinScore(score) {
    this.minScore = score;
    this.#choose();
  }

  /** @param {string[] | null} labels the only ones to show */
  setOnly(labels) {
    this.only = labels;
    this.#choose();
  }

  /**
   * Whether a class has a lane on screen.
   * @param {string} label
   */
  isOn(label) {
    if (this.only !== null && !this.only.includes(label)) return false;
    return this.wished.get(label) ?? (this.only !== null || this.natural.has(label));
  }

  /** The lanes on screen, from top to bottom. */
  get visible() {
    return [...this.lanes.values()].filter((lane) => this.isOn(lane.label));
  }

  /**
   * Show what lies above a level until the exact answer is here.
   * @param {Curves} curves
   * @param {number} level
   * @param {Set<string> | null} labels that are looked for; null for all
   */
  preview(curves, level, labels) {
    for (const lane of this.lanes.values()) {
      lane.preview =
        labels === null || labels.has(lane.label)
          ? curves.runsAbove(lane.label, level)
          : new Float64Array(0);
    }
  }

  /**
   * Show only the segments of some classes until the exact answer is here.
   * @param {Set<string>} labels
   */
  previewClasses(labels) {
    for (const lane of this.lanes.values()) {
      lane.preview = labels.has(lane.label) ? null : new Float64Array(0);
    }
  }

  endPreview() {
    for (const lane of this.lanes.values()) lane.preview = null;
  }

  /**
   * Find the segment at a moment in a lane.
   * @param {Lane} lane
   * @param {number} seconds
   * @param {number} slack in seconds, for segments too narrow to be hit
   * @returns {number} its place in the answer; -1 if there is none
   */
  hit(lane, seconds, slack) {
    let found = -1;
    let best = Infinity;
    for (let at = lane.firstNear(seconds - slack); at < lane.starts.length; at += 1) {
      const start = lane.starts[at] ?? 0;
      if (start > seconds + slack) break;
      const end = lane.ends[at] ?? 0;
      const score = lane.scores[at] ?? 0;
      if (end < seconds - slack || score < this.minScore) continue;
      const outside = Math.max(start - seconds, seconds - end, 0);
      // Of several that overlap the best one lies on top.
      const rank = outside > 0 ? 1 + outside : 1 - score;
      if (rank < best) [found, best] = [lane.places[at] ?? -1, rank];
    }
    return found;
  }

  /**
   * Find the next or the previous segment in time.
   * @param {number} selected place of the one to go on from; -1 for none
   * @param {number} seconds to go on from otherwise
   * @param {1 | -1} direction
   * @returns {number} its place; -1 if there is none
   */
  neighbour(selected, seconds, direction) {
    const order = this.shownByTime;
    const at = selected < 0 ? -1 : order.indexOf(selected);
    if (at >= 0) return order[at + direction] ?? -1;
    const isNext = (/** @type {number} */ place) =>
      ((this.segments[place]?.start ?? 0) - seconds) * direction > 1e-3;
    return (direction > 0 ? order.find(isNext) : order.findLast(isNext)) ?? -1;
  }

  #choose() {
    const { segments, minScore, only } = this;
    const wanted = only === null ? null : new Set(only);
    this.shown = [];
    for (const lane of this.lanes.values()) lane.count = 0;
    segments.forEach(({ label, score }, place) => {
      if (score < minScore || (wanted !== null && !wanted.has(label))) return;
      this.shown.push(place);
      const lane = this.lanes.get(label);
      if (lane) lane.count += 1;
    });
    this.shownByTime = this.shown
      .slice()
      .sort((a, b) => (segments[a]?.start ?? 0) - (segments[b]?.start ?? 0));
  }
}
