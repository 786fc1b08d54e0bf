/**
 * Everything on screen, put together: the video, the timeline under it, list and evidence beside it.
 *
 * Knows no service. What has to be asked for is asked of the desk (see `Desk`).
 */

import { Cover } from "./cover.js";
import { EvidencePanel } from "./evidence.js";
import { onKey } from "./keys.js";
import { h, say } from "./dom.js";
import { Lanes } from "./lanes.js";
import { layOut } from "./layout.js";
import { Listing } from "./listing.js";
import { Looks } from "./looks.js";
import { Popups } from "./menus.js";
import { Overview } from "./overview.js";
import { Pointing } from "./pointing.js";
import { Player } from "./player.js";
import { Ruler } from "./ruler.js";
import { Screen } from "./screen.js";
import { Tip } from "./tip.js";
import { Clock } from "./times.js";
import { Tracks } from "./tracks.js";
import { Transport } from "./transport.js";
import { Tuning } from "./tuning.js";
import { Viewport } from "./viewport.js";

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Choice} Choice */
/** @typedef {import("./curves.js").Curves} Curves */
/** @typedef {import("./thumbnails.js").Strip} Strip */
/** @typedef {import("./cover.js").State} State */

/** @typedef {object} Desk what the view asks for and tells
 * @property {(choice: Choice, signal: AbortSignal) => Promise<Segment[]>} resegment
 * @property {(start: number, end: number) => void} window a part is on screen: finer curves are welcome
 * @property {(labels: string[]) => void} lanes these lanes are on screen: curves are welcome
 * @property {(format: string) => void} save
 * @property {(segment: Segment) => Promise<string>} copyLink resolves to what to tell
 * @property {() => void} retry
 * @property {(name: string, detail: object) => void} tell an event for the host page
 * @property {(error: unknown) => void} failed
 */

/** Share of the window that stays free on both sides of a segment that is zoomed to. */
const ROOM = 0.6;
const TELL_EVERY_MS = 200;
/** Classes that are shown where nothing was found. */
const CLOSEST = 3;

export class View {
  /**
   * @param {ShadowRoot} shadow
   * @param {Desk} desk
   */
  constructor(shadow, desk) {
    this.desk = desk;
    this.tracks = new Tracks();
    this.selected = -1;
    /** @type {Curves | null} */
    this.curves = null;
    /** @type {Curves | null} */
    this.detail = null;
    /** @type {Strip | null} */
    this.strip = null;
    /** @type {Clock | null} */
    this.clock = null;
    /** @type {Record<string, number>} */
    this.videoScores = {};
    /** @type {number[]} */
    this.ownLevels = [];
    /** @type {Set<string> | null} labels that the model looked for in this video */
    this.looked = null;
    this.root = h("div", { class: "root", part: "root", "data-controls": "full" });
    this.looks = new Looks(this.root);
    this.viewport = new Viewport(() => this.#moved());
    this.player = new Player({
      time: (seconds) => this.#tellTime(seconds),
      change: () => this.#playerChanged(),
      problem: (problem) => this.screen.showProblem(problem),
    });
    this.screen = new Screen(this.player, () => void this.player.retry());
    this.transport = new Transport(this.player, {
      previous: () => this.go(-1),
      next: () => this.go(1),
      loop: () => this.toggleLoop(),
      full: () => this.toggleFull(),
      help: () => this.toggleHelp(),
    });
    this.tuning = new Tuning({
      preview: (level) => this.#preview(level),
      ask: desk.resegment,
      exact: (segments, choice) => this.#exact(segments, choice),
      own: () => this.#exact(this.own, {}),
      failed: (error) => this.#previewFailed(error),
      minScore: (score) => this.#minScore(score),
    });
    /** @type {Segment[]} as the job has them */
    this.own = [];
    this.listing = new Listing(this.tracks, (place) => this.select(place));
    this.evidence = new EvidencePanel({
      loop: () => this.toggleLoop(),
      zoom: () => this.zoomToSelected(),
      copy: () => void this.#copyLink(),
      close: () => this.select(-1),
    });
    this.ruler = new Ruler(this.viewport, this.looks);
    this.lanes = new Lanes(this.tracks, this.viewport, this.looks);
    this.overview = new Overview(this.tracks, this.viewport, this.looks);
    this.tip = new Tip();
    this.popups = new Popups(this.root);
    this.cover = new Cover(() => desk.retry());
    this.live = h("p", { class: "hush", role: "status", "aria-live": "polite" });
    this.drawing = 0;
    this.stale = { ruler: true, lanes: true, overview: true };
    this.toldMs = 0;
    const placed = layOut(this, {
      zoom: (factor) => this.zoomBy(factor),
      fit: () => this.fit(),
      lanes: (opener) => this.#chooseLanes(opener),
      save: (opener) => this.popups.showExport(opener, desk.save),
    });
    this.placed = placed;
    shadow.append(this.root);
    this.pointing = new Pointing(this, placed.hairline);
    this.root.addEventListener("keydown", (event) => onKey(event, this));
    this.lanes.element.addEventListener("scroll", () => this.invalidate("lanes"), { passive: true });
    const observer = new ResizeObserver(() => this.#measure());
    for (const one of [this.ruler.element, this.lanes.element, this.listing.box]) observer.observe(one);
  }

  /**
   * Show a video's result.
   * @param {{result: Result, classes: string[], recordedAt: string | null, minScore: number, canAsk: boolean, ofClasses: boolean}} facts
   */
  begin({ result, classes, recordedAt, minScore, canAsk, ofClasses }) {
    const { video } = result;
    this.own = result.segments;
    this.selected = -1;
    this.curves = null;
    this.detail = null;
    this.strip = null;
    this.looked = result.labels_seen ? new Set(Object.keys(result.labels_seen)) : null;
    this.videoScores = { ...result.labels_seen };
    const clock = recordedAt ? new Clock(recordedAt) : null;
    this.clock = clock?.known ? clock : null;
    this.ruler.clock = this.clock;
    this.tracks.minScore = minScore;
    this.tracks.begin(result.segments, classes);
    this.tuning.begin({ canAsk, ofClasses, minScore });
    this.screen.begin(video);
    this.player.duration = video.duration;
    this.evidence.show(null);
    this.viewport.reset(video.duration);
    this.#segmentsChanged();
    this.setState(null);
    this.transport.tell(0, this.clock);
    this.ruler.tell(0);
  }

  /** Where nothing was found, show the classes that came closest. */
  showClosest() {
    if (this.tracks.segments.length > 0) return;
    const scores = Object.entries(this.videoScores).sort((a, b) => b[1] - a[1]);
    for (const [label] of scores.slice(0, CLOSEST)) this.tracks.natural.add(label);
    this.#segmentsChanged();
  }

  /** @param {Curves | null} curves */
  setCurves(curves) {
    this.curves = curves;
    this.#refill();
    this.invalidate("lanes");
    this.#showEvidence();
  }

  /** @param {Curves | null} detail of about the window on screen */
  setDetail(detail) {
    this.detail = detail;
    this.invalidate("lanes");
    this.#showEvidence();
  }

  /** @param {Strip | null} strip */
  setStrip(strip) {
    this.strip = strip;
    this.screen.setStrip(strip);
  }

  /** @param {string[] | null} labels the only ones to show; null for any */
  setOnly(labels) {
    this.tracks.setOnly(labels);
    this.#segmentsChanged();
  }

  /** @param {State | null} state null shows the timeline */
  setState(state) {
    this.cover.show(state);
    this.root.classList.toggle("covered", state !== null);
    if (state !== null) this.player.pause();
    this.#measure();
  }

  /** @param {string} text for readers of the screen, and a moment on it */
  announce(text) {
    say(this.live, text);
    this.screen.toast(text);
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.player.seek(seconds);
    this.viewport.reveal(this.player.currentTime);
  }

  /** @param {number} seconds */
  seekBy(seconds) {
    this.seek(this.player.currentTime + seconds);
  }

  /**
   * Select a segment and go to where it begins.
   * @param {number} place in the answer; -1 unselects
   * @param {boolean} [seeks]
   */
  select(place, seeks = true) {
    const segment = this.tracks.segments[place];
    this.selected = segment ? place : -1;
    if (this.player.loop) this.player.loop = segment ? rangeOf(segment) : null;
    if (segment) {
      this.viewport.revealRange(segment.start, segment.end);
      if (seeks) this.player.seek(segment.start);
      this.lanes.reveal(segment.label);
    }
    this.listing.mark(this.selected);
    this.#showEvidence();
    this.transport.update();
    this.invalidate("lanes", "ruler");
    if (segment) {
      this.desk.window(segment.start, segment.end);
      this.desk.tell("segment-select", { segment, index: this.tracks.shown.indexOf(place) });
    } else this.desk.tell("segment-select", { segment: null, index: -1 });
  }

  /** @param {1 | -1} direction to the next or the previous segment */
  go(direction) {
    const place = this.tracks.neighbour(this.selected, this.player.currentTime, direction);
    if (place >= 0) this.select(place);
  }

  toggleLoop() {
    const { player } = this;
    if (player.loop) player.loop = null;
    else {
      if (this.selected < 0) this.go(1);
      const segment = this.tracks.segments[this.selected];
      if (!segment) return;
      player.loop = rangeOf(segment);
      void player.play();
    }
    this.#playerChanged();
  }

  zoomToSelected() {
    const segment = this.tracks.segments[this.selected];
    if (!segment) return;
    const room = (segment.end - segment.start) * ROOM;
    this.viewport.show(segment.start - room, segment.end + room);
  }

  /** @param {number} factor below 1 shows less; the playhead stays where it is, if it is in sight */
  zoomBy(factor) {
    const { viewport, player } = this;
    const now = player.currentTime;
    const inside = now >= viewport.start && now <= viewport.end;
    viewport.zoom(factor, inside ? now : (viewport.start + viewport.end) / 2);
  }

  fit() {
    this.viewport.show(0, this.viewport.duration);
  }

  toggleFull() {
    const { root } = this;
    const leaving = /** @type {ShadowRoot} */ (root.getRootNode()).fullscreenElement === root;
    const done = leaving ? document.exitFullscreen() : root.requestFullscreen?.();
    done?.catch(() => this.announce("This browser allows no full screen here."));
  }

  toggleHelp() {
    this.popups.showHelp(this.transport.play);
  }

  /** Whether Escape would do something here. */
  get canEscape() {
    return this.popups.opened !== null || this.selected >= 0;
  }

  escape() {
    if (!this.popups.close()) this.select(-1);
  }

  /**
   * Draw again in the next frame.
   * @param {...("ruler" | "lanes" | "overview")} parts
   */
  invalidate(...parts) {
    for (const part of parts) this.stale[part] = true;
    if (!this.drawing) this.drawing = requestAnimationFrame(() => this.#draw());
  }

  /** Look at the style sheet again: the theme, or a variable of the host's, has changed. */
  restyle() {
    this.looks.refresh();
    this.#measure();
  }

  /** @param {boolean} [withLabels] also lay the lanes out anew */
  #segmentsChanged(withLabels = true) {
    if (withLabels) {
      this.lanes.layOut();
      this.desk.lanes(this.lanes.rows.map(({ label }) => label));
    }
    this.listing.update();
    const { shown, segments } = this.tracks;
    const hidden = segments.length - shown.length;
    const count = `${shown.length.toLocaleString("en")} segment${shown.length === 1 ? "" : "s"}`;
    say(this.tuning.tally, hidden ? `${count}, ${hidden.toLocaleString("en")} hidden` : count);
    this.#sayEmpty();
    this.invalidate("lanes", "overview");
  }

  #sayEmpty() {
    const { empty, corner } = this.placed;
    const { tracks } = this;
    const rows = tracks.visible.length;
    say(corner, `${rows} of ${tracks.classes.length} classes`);
    const nothing = tracks.segments.length === 0;
    empty.hidden = !nothing && rows > 0;
    const text = nothing ? "The model saw none of its actions in this video." : "Choose classes under Lanes.";
    const near = nothing && rows > 0 ? " Below are the classes that came closest." : "";
    empty.replaceChildren(h("b", {}, nothing ? "Nothing was found. " : "No lane is shown. "), text, near);
  }

  /** @param {number} level */
  #preview(level) {
    if (this.tuning.ofClasses) {
      const scores = Object.entries(this.videoScores);
      this.tracks.previewClasses(new Set(scores.filter(([, score]) => score >= level).map(([label]) => label)));
    } else if (this.curves) this.tracks.preview(this.curves, level, this.looked);
    this.root.classList.add("previewing");
    say(this.tuning.tally, "Preview…");
    this.invalidate("lanes");
  }

  /** Preview again with curves that came later. */
  #refill() {
    if (this.root.classList.contains("previewing") && this.tuning.level !== null) {
      this.#preview(this.tuning.level);
    }
  }

  /**
   * @param {Segment[]} segments
   * @param {Choice} choice
   */
  #exact(segments, choice) {
    const before = this.tracks.segments[this.selected];
    this.root.classList.remove("previewing");
    this.tuning.follow(choice);
    this.tracks.setSegments(segments);
    this.selected = before ? segments.findIndex((one) => isSame(one, before)) : -1;
    this.#segmentsChanged();
    this.listing.mark(this.selected);
    if (before && this.selected < 0) this.player.loop = null;
    this.#showEvidence();
    this.desk.tell("resegment", { segments, choice });
  }

  /** @param {unknown} error */
  #previewFailed(error) {
    this.root.classList.remove("previewing");
    this.tracks.endPreview();
    this.#segmentsChanged(false);
    this.desk.failed(error);
  }

  /** @param {number} score */
  #minScore(score) {
    this.tracks.setMinScore(score);
    if (this.selected >= 0 && !this.tracks.shown.includes(this.selected)) this.select(-1);
    this.#segmentsChanged();
  }

  #showEvidence() {
    const segment = this.tracks.segments[this.selected];
    if (!segment) {
      this.evidence.show(null);
      return;
    }
    const { detail, curves } = this;
    const source = detail?.covers(segment.start, segment.end) ? detail : curves;
    this.evidence.show({
      segment,
      paint: this.tracks.lanes.get(segment.label)?.paint ?? 0,
      videoScore: this.videoScores[segment.label] ?? null,
      shares: source ? source.streamShares(segment.start, segment.end) : undefined,
      clock: this.clock,
    });
    this.evidence.setLoop(this.player.loop !== null);
  }

  async #copyLink() {
    const segment = this.tracks.segments[this.selected];
    if (segment) this.announce(await this.desk.copyLink(segment));
  }

  #moved() {
    this.overview.place();
    this.#placeNeedles(this.player.currentTime);
    this.pointing.leave();
    this.placed.zoomOut.disabled = !this.viewport.zoomed;
    this.placed.whole.disabled = !this.viewport.zoomed;
    this.invalidate("ruler", "lanes");
    this.desk.window(this.viewport.start, this.viewport.end);
  }

  /** @param {number} seconds */
  #tellTime(seconds) {
    const { viewport } = this;
    // While it plays the window follows, a page at a time.
    if (!this.player.paused && viewport.zoomed && seconds > viewport.end && seconds - viewport.end < viewport.span) {
      viewport.pan(viewport.span * 0.9);
    }
    this.#placeNeedles(seconds);
    this.transport.tell(seconds, this.clock);
    this.screen.tell(seconds);
    const now = performance.now();
    if (this.player.paused || now - this.toldMs > TELL_EVERY_MS) {
      this.toldMs = now;
      this.ruler.tell(seconds);
      this.screen.showLabels(this.#labelsAt(seconds), this.tracks);
      this.desk.tell("time", { seconds });
    }
  }

  /** @param {number} seconds */
  #labelsAt(seconds) {
    return this.lanes.rows.filter(
      (lane) => lane.preview === null && this.tracks.hit(lane, seconds, 0) >= 0,
    );
  }

  /** @param {number} seconds */
  #placeNeedles(seconds) {
    const x = this.viewport.toX(seconds);
    this.placed.playhead.style.transform = `translateX(${Math.min(Math.max(x, -20), this.viewport.width + 20)}px)`;
    this.overview.point(seconds);
  }

  #playerChanged() {
    this.transport.update();
    this.evidence.setLoop(this.player.loop !== null);
    this.screen.update();
    this.invalidate("ruler");
  }

  #draw() {
    this.drawing = 0;
    if (this.viewport.width < 2) return;
    const { stale } = this;
    this.stale = { ruler: false, lanes: false, overview: false };
    if (stale.ruler) this.ruler.draw(this.player.loop);
    if (stale.lanes) {
      const { selected, curves, detail } = this;
      const { hovered } = this.pointing;
      const level = this.tuning.level;
      const levels = this.tuning.ofClasses ? [] : level === null ? this.ownLevels : [level];
      this.lanes.draw({ selected, hovered, curves, detail, levels });
    }
    if (stale.overview) this.overview.draw();
  }

  #measure() {
    const width = this.ruler.element.clientWidth;
    if (width < 2) return;
    this.looks.refresh();
    this.viewport.width = width;
    this.lanes.layOut();
    this.listing.draw();
    this.overview.place();
    this.#placeNeedles(this.player.currentTime);
    this.invalidate("ruler", "lanes", "overview");
  }

  /** @param {HTMLElement} opener */
  #chooseLanes(opener) {
    this.popups.showLanes(opener, this.tracks, (label, on) => {
      this.tracks.wished.set(label, on);
      this.#segmentsChanged();
    });
  }
}

/** @param {Segment} segment */
function rangeOf({ start, end }) {
  return { start, end };
}

/**
 * @param {Segment} one
 * @param {Segment} other
 */
function isSame(one, other) {
  return one.label === other.label && one.start === other.start && one.end === other.end;
}
