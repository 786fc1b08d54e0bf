/** The results of a search, as a wall or a table, with what is shown while and where there are none. */

import { el, fill, say } from "./dom.js";
import { count } from "./format.js";
import { drawWhole, Posters } from "./search-posters.js";
import { ClipPlayer } from "./search-player.js";
import { FrameTaker } from "./search-frames.js";
import { PAGE_SIZE, Results } from "./search-results.js";
import { failure, nothingMatches, nothingYet, skeleton } from "./search-states.js";
import { apiQuery, restrictions, searchAddress } from "./search-state.js";
import { Table } from "./search-table.js";
import { Tickets } from "./search-tickets.js";
import { Wall } from "./search-wall.js";
import { momentInWords } from "./search-words.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./search-state.js").Search} Search */
/** @typedef {import("./search-results.js").Segment} Segment */

/** The next page is fetched when so much is left below the screen. */
const AHEAD = "1200px";

/** Old results stay, dimmed, for so long before their place is emptied for new ones. */
const PATIENCE_MILLISECONDS = 400;

/** Who comes back within this time finds everything where it was. */
const KEEP_MILLISECONDS = 10 * 60_000;

/** So many filters are tried out, one by one, to say which to relax. */
const MAX_TRIED = 8;

/**
 * @typedef {object} Left what was on the screen when somebody went on to a clip.
 * @property {string} address
 * @property {Segment[]} segments
 * @property {string | null} nextPageToken
 * @property {number} scrollPx
 * @property {string | null} opened id of the segment that was opened.
 * @property {number} leftAt
 */

/** What was left, per page: by its API, so that another key finds nothing. */
const leftBehind = /** @type {WeakMap<object, Left>} */ (new WeakMap());

/** Shows results. */
export class ResultView {
  /**
   * @param {PageContext} context
   * @param {object} parts
   * @param {(text: string) => void} parts.onCount is told how many there are, in words.
   * @param {() => number} parts.total number of all segments without a filter; 0 if not known.
   * @param {import("./search-colors.js").LabelColors} parts.colors
   */
  constructor(context, { onCount, total, colors }) {
    this.context = context;
    this.onCount = onCount;
    this.total = total;
    const { signal, api } = context;
    /** @type {Search | null} */
    this.search = null;
    /** @type {Results | null} */
    this.results = null;
    this.run = new AbortController();
    /** @type {string | null} */
    this.opened = null;
    this.scrollPx = 0;
    const tickets = new Tickets((videoId) => api.contentUrl(videoId, { signal }));
    this.posters = new Posters(api, signal);
    this.frames = new FrameTaker({
      tickets,
      signal,
      onFrame: ({ canvas, segment }, frame) => this.sharpen(canvas, segment, frame),
    });
    this.player = new ClipPlayer({
      tickets,
      announce: (text) => context.announce(text),
      onFrame: (segment, frame) => this.posters.keepFrame(segment.id, frame),
    });
    const moving = matchMedia("(hover: hover) and (prefers-reduced-motion: no-preference)");
    this.wall = new Wall({
      posters: this.posters,
      player: this.player,
      colors,
      plays: () => moving.matches,
      onBlurred: (canvas, segment) => this.frames.want({ canvas, segment }),
      signal,
    });
    this.table = new Table({ signal });
    this.place = el("div", { class: "search-results" });
    this.more = el("button", { type: "button", class: "button search-more", onclick: () => void this.fetch(true) });
    this.end = el("div", { class: "search-end" }, this.more);
    this.watch = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting) && !this.results?.error) void this.fetch(false);
      },
      { rootMargin: `0px 0px ${AHEAD} 0px` },
    );
    this.element = el("div", { class: "search-view" }, this.place, this.end);
    this.listen();
  }

  listen() {
    const { signal, api } = this.context;
    this.watch.observe(this.end);
    const remember = () => {
      this.scrollPx = window.scrollY;
    };
    document.addEventListener("scroll", remember, { passive: true, signal });
    this.element.addEventListener("click", (event) => this.onOpen(event));
    signal.addEventListener("abort", () => {
      this.watch.disconnect();
      this.run.abort();
      this.player.stop();
      if (this.search && this.results && this.results.segments.length > 0) {
        leftBehind.set(api, {
          address: searchAddress(this.search),
          segments: this.results.segments,
          nextPageToken: this.results.nextPageToken,
          scrollPx: this.scrollPx,
          opened: this.opened,
          leftAt: Date.now(),
        });
      }
      this.posters.close();
    });
  }

  /**
   * Show the results of a search.
   * @param {Search} search
   */
  show(search) {
    const before = this.search;
    this.search = search;
    if (before && this.results && sameQuery(before, search)) {
      // Only the way of showing is another.
      this.draw();
      return;
    }
    const left = before ? undefined : this.left(search);
    this.begin(search, left);
    if (left) requestAnimationFrame(() => this.comeBack(left));
    else void this.fetch(true);
  }

  /** Ask again for the same search. */
  reload() {
    if (!this.search) return;
    this.begin(this.search, undefined);
    void this.fetch(true);
  }

  /** @param {Segment} segment */
  has(segment) {
    return this.results?.has(segment) ?? false;
  }

  /** The number of all segments is known, or another. */
  onTotal() {
    if (this.results && !this.results.busy) this.draw();
  }

  /**
   * @param {Search} search
   * @param {Left | undefined} left
   */
  begin(search, left) {
    this.run.abort();
    this.run = new AbortController();
    const query = apiQuery(search, new Date());
    query.set("order", search.order);
    this.results = new Results(this.context.api, query, this.run.signal, left);
    this.player.stop();
    this.place.setAttribute("aria-busy", "true");
    this.end.hidden = true;
    const { results } = this;
    setTimeout(() => {
      if (results === this.results && results.busy && results.segments.length === 0) this.wait();
    }, this.place.childElementCount > 0 ? PATIENCE_MILLISECONDS : 0);
    if (left) this.draw();
  }

  wait() {
    this.onCount("");
    fill(this.place, skeleton());
  }

  /** @param {boolean} asked whether somebody did; else it is only a page ahead of the screen. */
  async fetch(asked) {
    const { results } = this;
    if (!results) return;
    const first = results.segments.length === 0;
    say(this.more, "Loading…");
    if (!(await results.more()) || results !== this.results) return;
    this.draw();
    // It tells of changes only: the end may be near the screen still, and has to be looked at anew.
    this.watch.unobserve(this.end);
    this.watch.observe(this.end);
    if (first) this.announce(results);
    else if (asked) this.context.announce(`${count(results.segments.length, "clip")} now.`);
  }

  draw() {
    const { results, search } = this;
    if (!results || !search) return;
    const { segments, complete, error, busy } = results;
    this.place.setAttribute("aria-busy", String(busy));
    if (segments.length === 0) {
      if (!busy) this.drawNone();
      return;
    }
    const shown = search.view === "table" ? this.table : this.wall;
    if (shown.element.parentElement !== this.place || this.place.childElementCount !== 1) {
      fill(this.place, shown.element);
    }
    shown.show(segments, complete);
    this.onCount(this.countInWords(search, results));
    this.end.hidden = complete;
    say(this.more, error ? "More could not be loaded. Try again" : busy ? "Loading…" : "Show more");
  }

  drawNone() {
    const { results, search } = this;
    if (!results || !search) return;
    this.end.hidden = true;
    this.onCount("");
    this.wall.show([], true);
    this.table.show([], true);
    if (results.error) {
      fill(this.place, failure(results.error, () => this.reload()));
      return;
    }
    const narrow = restrictions(search, momentInWords);
    if (narrow.length === 0) {
      fill(this.place, nothingYet());
      return;
    }
    fill(this.place, nothingMatches(narrow, []));
    void this.drawHints(results);
  }

  /**
   * Say which filter to relax: each is left out once, and those that help are named.
   * @param {Results} results
   */
  async drawHints(results) {
    const { search } = this;
    if (!search) return;
    const narrow = restrictions(search, momentInWords).slice(0, MAX_TRIED);
    const { signal } = this.run;
    const tried = await Promise.all(
      narrow.map(async (restriction) => {
        const query = apiQuery(restriction.without, new Date());
        query.set("page_size", String(PAGE_SIZE));
        try {
          const page = await this.context.api.json(`/v1/segments?${query}`, { signal });
          const found = page.segments.length;
          return { ...restriction, some: page.next_page_token ? `${found}+` : String(found), found };
        } catch {
          return { ...restriction, some: "", found: 0 };
        }
      }),
    );
    if (results !== this.results) return;
    const helpful = tried.filter(({ found }) => found > 0).sort((one, other) => other.found - one.found);
    fill(this.place, nothingMatches(narrow, helpful));
  }

  /**
   * @param {Search} search
   * @param {Results} results
   */
  countInWords(search, { segments, complete }) {
    const number = segments.length;
    if (complete) return count(number, "clip");
    const everything = restrictions(search, momentInWords).length === 0;
    const total = everything ? this.total() : 0;
    return total > number ? count(total, "clip") : `more than ${count(number, "clip")}`;
  }

  /** @param {Results} results */
  announce(results) {
    const { search } = this;
    if (!search) return;
    if (results.error) this.context.announce("The search did not work.", { urgent: true });
    else if (results.segments.length === 0) this.context.announce("No clip matches.");
    else this.context.announce(`${this.countInWords(search, results)}.`);
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Segment} segment
   * @param {ImageBitmap} frame
   */
  sharpen(canvas, segment, frame) {
    this.posters.keepFrame(segment.id, frame);
    if (!canvas.isConnected) return;
    drawWhole(canvas, frame);
    canvas.classList.add("is-drawn");
  }

  /** @param {Event} event */
  onOpen(event) {
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    const query = new URLSearchParams(link?.getAttribute("href")?.split("?")[1] ?? "");
    if (query.has("segment")) this.opened = query.get("segment");
  }

  /** @param {Search} search */
  left(search) {
    const left = leftBehind.get(this.context.api);
    leftBehind.delete(this.context.api);
    if (!left || left.address !== searchAddress(search)) return undefined;
    return Date.now() - left.leftAt < KEEP_MILLISECONDS ? left : undefined;
  }

  /** @param {Left} left */
  comeBack(left) {
    if (this.context.signal.aborted || !this.results) return;
    this.draw();
    window.scrollTo({ top: left.scrollPx });
    const index = left.segments.findIndex((segment) => String(segment.id) === left.opened);
    const shown = this.search?.view === "table" ? this.table : this.wall;
    if (index >= 0) shown.focus(index);
  }
}

/**
 * Whether two searches find the same, in the same order.
 * @param {Search} one
 * @param {Search} other
 */
function sameQuery(one, other) {
  return searchAddress({ ...one, view: "wall" }) === searchAddress({ ...other, view: "wall" });
}
