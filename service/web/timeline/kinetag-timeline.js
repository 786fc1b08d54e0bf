/**
 * <kinetag-timeline>: a video with its action segments, as one element for any page.
 *
 *     <script type="module" src="https://kinetag.example/web/timeline/kinetag-timeline.js"></script>
 *     <kinetag-timeline job="job_01J9…" token-url="/kinetag-token"></kinetag-timeline>
 *
 * docs/timeline.md describes its attributes, properties, methods, events and variables.
 */

import { Api, isAbort } from "./api.js";
import { errorState, jobState, LOADING, NO_JOB } from "./cover.js";
import { TokenKeeper } from "./credentials.js";
import { Curves } from "./curves.js";
import * as loading from "./loading.js";
import { FORMATS } from "./menus.js";
import { sheet } from "./styles.js";
import { fetchStrip, Strip } from "./thumbnails.js";
import { View } from "./view.js";

/** @typedef {import("./types.js").Segment} Segment */
/** @typedef {import("./types.js").Choice} Choice */
/** @typedef {import("./types.js").TimelineData} TimelineData */
/** @typedef {import("./types.js").Activations} Activations */
/** @typedef {import("./api.js").Credentials} Credentials */

const MODULE_ORIGIN = new URL(import.meta.url).origin;
const DETAIL_AFTER_MS = 200;
/** Finer curves are fetched when a window has fewer points than this of what there is. */
const FEW_POINTS = 600;
/** Curves are fetched for so many lanes at a time. */
const MAX_CURVES = 60;

export class KinetagTimeline extends HTMLElement {
  static observedAttributes = ["api", "job", "camera", "token", "token-url", "theme", "controls", "min-score", "labels"];

  #view;
  #keeper;
  #api = new Api();
  /** @type {Credentials | null} */
  #credentials = null;
  /** @type {TimelineData | null} */
  #data = null;
  /** @type {AbortController | null} what is under way for the present job */
  #work = null;
  #jobId = "";
  #loadTimer = 0;
  #detailTimer = 0;
  #failed = false;
  /** Whether the service knows windows of curves; null until it has shown. */
  #windows = /** @type {boolean | null} */ (null);
  #dark = matchMedia("(prefers-color-scheme: dark)");
  #duration = 0;
  /** @type {Set<string>} labels whose curves are here or on their way */
  #asked = new Set();

  constructor() {
    super();
    const shadow = this.attachShadow({ mode: "open", delegatesFocus: false });
    shadow.adoptedStyleSheets = [sheet()];
    this.#view = new View(shadow, {
      resegment: (choice, signal) => this.#resegment(choice, signal),
      window: (start, end) => this.#wantDetail(start, end),
      lanes: (labels) => void this.#wantCurves(labels),
      save: (format) => void this.#save(format),
      copyLink: (segment) => this.#copyLink(segment),
      retry: () => this.#reload(),
      tell: (name, detail) => this.#tell(name, detail),
      failed: (error) => this.#report(error),
    });
    this.#keeper = new TokenKeeper({
      custom: () => this.#credentials,
      tokenUrl: () => this.getAttribute("token-url"),
      token: () => this.getAttribute("token"),
    });
  }

  connectedCallback() {
    // Only while it is on a page: the browser keeps whoever listens to it.
    this.#dark.addEventListener("change", this.#themeChanged);
    this.#applyTheme();
    this.#applyControls();
    addEventListener("online", this.#online);
    this.#reload();
  }

  disconnectedCallback() {
    this.#dark.removeEventListener("change", this.#themeChanged);
    removeEventListener("online", this.#online);
    clearTimeout(this.#loadTimer);
    clearTimeout(this.#detailTimer);
    this.#work?.abort();
    this.#view.tuning.stop();
    this.#view.player.close();
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} value
   */
  attributeChangedCallback(name, before, value) {
    if (before === value || !this.isConnected) return;
    if (name === "theme") this.#applyTheme();
    else if (name === "controls") this.#applyControls();
    else if (name === "min-score") this.#view.tuning.setMinScore(Number(value) || 0);
    else if (name === "labels") this.#view.setOnly(labelList(value));
    // A new token alone changes nothing that is shown, unless the old one was refused.
    else if (!name.startsWith("token") || this.#failed) this.#reload();
  }

  /** Says with which key or token to ask; goes before `token` and `token-url`. */
  get credentials() {
    return this.#credentials;
  }

  set credentials(credentials) {
    this.#credentials = credentials;
    if (this.isConnected) this.#reload();
  }

  /** Everything to show, for use without any service. */
  get data() {
    return this.#data;
  }

  set data(data) {
    this.#data = data;
    if (this.isConnected) this.#reload();
  }

  /** Where the video is, in seconds. */
  get currentTime() {
    return this.#view.player.currentTime;
  }

  set currentTime(seconds) {
    this.#view.seek(seconds);
  }

  /** The segments on screen, best first: above the minimum score, of the labels asked for. */
  get segments() {
    const { shown, segments } = this.#view.tracks;
    return shown.map((place) => /** @type {Segment} */ (segments[place]));
  }

  /** The selected segment; null for none. */
  get selected() {
    return this.#view.tracks.segments[this.#view.selected] ?? null;
  }

  play() {
    return this.#view.player.play();
  }

  pause() {
    this.#view.player.pause();
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.#view.seek(seconds);
  }

  /** @param {number} index into `segments`; -1 selects none */
  select(index) {
    this.#view.select(this.#view.tracks.shown[index] ?? -1);
  }

  /** Select the next segment in time. */
  next() {
    this.#view.go(1);
  }

  /** Select the previous segment in time. */
  previous() {
    this.#view.go(-1);
  }

  /**
   * Step by frames; negative ones go back.
   * @param {number} [frames]
   */
  step(frames = 1) {
    return this.#view.player.step(frames);
  }

  /**
   * Show a part of the timeline; all of it without arguments.
   * @param {number} [start] in seconds
   * @param {number} [end]
   */
  zoom(start = 0, end = Infinity) {
    this.#view.viewport.show(start, Math.min(end, this.#duration));
  }

  /**
   * Cut the segments anew; {} goes back to the job's own.
   * @param {Choice} choice as POST /v1/jobs/{id}/resegment takes it
   * @returns {Promise<Segment[] | null>} null where another choice came in between
   */
  async resegment(choice) {
    if (Object.keys(choice).length > 0) return this.#view.tuning.ask(choice);
    this.#view.tuning.back();
    return this.#view.tracks.segments;
  }

  /**
   * The segments as a file, as they are on screen.
   * @param {string} format native, csv, jsonl, webvtt, activitynet, labelstudio, fiftyone, svg, png
   * @returns {Promise<Blob>}
   */
  exportAs(format) {
    const { tuning } = this.#view;
    const score = Number(tuning.score.value);
    if (this.#jobId === "") return Promise.resolve(ownExport(this.#data, this.segments));
    const choice = score > 0 ? { ...tuning.choice, min_score: score } : { ...tuning.choice };
    return loading.fetchExport(this.#api, this.#jobId, format, choice);
  }

  #themeChanged = () => this.#applyTheme();

  #online = () => {
    if (this.#failed) this.#reload();
    else if (this.#view.screen.problem === "offline") void this.#view.player.retry();
  };

  /** Begin anew, once for all attributes that are set in one go. */
  #reload() {
    clearTimeout(this.#loadTimer);
    this.#loadTimer = setTimeout(() => void this.#load(), 0);
  }

  async #load() {
    this.#work?.abort();
    const { signal } = (this.#work = new AbortController());
    this.#failed = false;
    this.#jobId = "";
    this.#windows = null;
    this.#asked.clear();
    const view = this.#view;
    view.player.close();
    try {
      if (this.#data) await this.#showData(this.#data);
      else if (this.hasAttribute("job") || this.hasAttribute("camera")) {
        view.setState(LOADING);
        await this.#showJob(signal);
      } else view.setState(NO_JOB);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      this.#failed = true;
      view.setState(errorState(error));
      this.#report(error);
    }
  }

  /** @param {AbortSignal} signal */
  async #showJob(signal) {
    const view = this.#view;
    const origin = this.getAttribute("api") ?? MODULE_ORIGIN;
    const api = (this.#api = new Api({
      base: origin === location.origin ? "" : origin,
      credentials: (refused) => this.#keeper.get(refused),
    }));
    const camera = this.getAttribute("camera") ?? "";
    const none = () => view.setState({ name: "waiting", title: "No recording yet", text: `The first finished recording of ${camera} is shown here.` });
    const jobId = this.getAttribute("job") ?? (await loading.newestJob(api, camera, none, signal));
    const job = await loading.endedJob(api, jobId, (known) => view.setState(jobState(known)), signal);
    if (job.status !== "succeeded") {
      view.setState(jobState(job));
      return;
    }
    const [result, classes] = await Promise.all([
      loading.fetchResult(api, jobId, signal),
      loading.fetchClasses(api, jobId, signal),
    ]);
    signal.throwIfAborted();
    this.#jobId = jobId;
    this.#begin(result, classes, result.recorded_at ?? job.recorded_at ?? null, job.options?.min_score ?? 0);
    const { duration, nominal_fps: fps } = result.video;
    void view.player.begin(duration, fps, () => api.contentUrl(job.video.id, { signal })).then(() => this.#start());
    void fetchStrip(api, job.video.id, signal).then((strip) => {
      if (!signal.aborted) view.setStrip(strip);
    });
    void api.json(`/v1/videos/${encodeURIComponent(job.video.id)}`, { signal }).then(
      (video) => view.screen.setCodec(video?.codec ?? ""),
      () => {},
    );
  }

  /** @param {TimelineData} data */
  async #showData({ result, video, activations, thumbnails, mediaUrl }) {
    const view = this.#view;
    this.#begin(result, activations ?? null, video?.recorded_at ?? result.recorded_at ?? null, 0);
    if (activations) view.setCurves(new Curves(activations, result.video.duration));
    view.screen.setCodec(video?.codec ?? "");
    const open = mediaUrl ? async () => ({ url: mediaUrl }) : null;
    await view.player.begin(result.video.duration, result.video.nominal_fps, open);
    if (!mediaUrl) view.screen.showProblem("none");
    if (thumbnails) view.setStrip(await Strip.load(thumbnails));
    this.#start();
  }

  /**
   * @param {import("./types.js").Result} result
   * @param {Activations | null} classes
   * @param {string | null} recordedAt
   * @param {number} leastScore that the job itself was asked for
   */
  #begin(result, classes, recordedAt, leastScore) {
    const view = this.#view;
    const ofClasses = Boolean(classes?.proposals);
    const wished = Number(this.getAttribute("min-score") ?? 0) || 0;
    this.#duration = result.video.duration;
    view.tracks.only = labelList(this.getAttribute("labels"));
    view.ownLevels = classes?.thresholds ?? [];
    view.begin({
      result,
      classes: classes?.classes ?? Object.keys(result.labels_seen ?? {}),
      recordedAt,
      minScore: Math.max(wished, leastScore),
      canAsk: classes !== null,
      ofClasses,
    });
    classes?.classes.forEach((label, at) => {
      view.videoScores[label] ??= classes.video_scores[at] ?? 0;
    });
    view.showClosest();
    this.#tell("kinetag-ready", { job: this.#jobId || null, duration: result.video.duration, segments: result.segments.length });
  }

  /** Go where the host wants to begin. */
  #start() {
    const seconds = Number(this.getAttribute("start"));
    if (seconds > 0) this.#view.seek(seconds);
  }

  /**
   * Fetch curves of lanes that have none yet.
   * @param {string[]} labels
   */
  async #wantCurves(labels) {
    const view = this.#view;
    const signal = this.#work?.signal;
    if (this.#jobId === "" || view.tuning.threshold.disabled || !signal) return;
    // What may be cut anew is fetched too, so that a preview shows it.
    const wanted = [...labels, ...(view.looked ?? [])].filter((label) => !this.#asked.has(label));
    const some = [...new Set(wanted)].slice(0, MAX_CURVES);
    if (some.length === 0) return;
    for (const label of some) this.#asked.add(label);
    try {
      const answer = await loading.fetchCurves(this.#api, this.#jobId, { labels: some, signal });
      const curves = new Curves(answer, this.#duration);
      view.setCurves(view.curves ? view.curves.joined(curves) : curves);
      if (wanted.length > some.length) await this.#wantCurves(labels);
    } catch (error) {
      if (!isAbort(error)) this.#report(error);
    }
  }

  /**
   * Fetch finer curves for a part, when the hand rests.
   * @param {number} start
   * @param {number} end
   */
  #wantDetail(start, end) {
    clearTimeout(this.#detailTimer);
    const { curves, detail } = this.#view;
    if (this.#jobId === "" || this.#windows === false || !curves) return;
    const points = (end - start) / curves.spacing;
    const steps = ((end - start) / this.#duration) * curves.numSteps;
    if (points > FEW_POINTS || steps <= points * 1.2) return;
    if (detail?.covers(start, end) && (end - start) / detail.spacing > Math.min(FEW_POINTS, steps * 0.9)) return;
    this.#detailTimer = setTimeout(() => void this.#fetchDetail(start, end), DETAIL_AFTER_MS);
  }

  /**
   * @param {number} start
   * @param {number} end
   */
  async #fetchDetail(start, end) {
    const signal = this.#work?.signal;
    const view = this.#view;
    if (!signal) return;
    const room = (end - start) / 2;
    const window = { start: Math.max(0, start - room), end: Math.min(this.#duration, end + room) };
    const labels = view.lanes.rows.slice(0, MAX_CURVES).map(({ label }) => label);
    if (labels.length === 0) return;
    try {
      const answer = await loading.fetchCurves(this.#api, this.#jobId, { labels, window, signal });
      const detail = new Curves(answer, this.#duration);
      // A service that does not know windows answers with the whole video.
      this.#windows = detail.last - detail.first <= (window.end - window.start) * 1.1 + 2;
      if (this.#windows) view.setDetail(detail);
    } catch {
      // The coarse curves stay.
    }
  }

  /**
   * @param {Choice} choice
   * @param {AbortSignal} signal
   * @returns {Promise<Segment[]>}
   */
  async #resegment(choice, signal) {
    // Without a service there is nobody to ask: the job's own segments are what is known.
    if (this.#jobId === "") return this.#view.own;
    return (await loading.postChoice(this.#api, this.#jobId, choice, signal)).segments;
  }

  /** @param {string} format */
  async #save(format) {
    try {
      const blob = await this.exportAs(format);
      const ending = FORMATS.find(([name]) => name === format)?.[2] ?? "";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${fileStem(this.#view.player.video.getAttribute("aria-label") ?? "")}${ending}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) {
      this.#view.announce("The export did not work; try again.");
      this.#report(error);
    }
  }

  /** @param {Segment} segment */
  async #copyLink(segment) {
    const origin = (this.getAttribute("api") || MODULE_ORIGIN).replace(/\/+$/, "");
    const at = segment.start.toFixed(2);
    const query = new URLSearchParams({ at, label: segment.label });
    const link = this.#jobId ? `${origin}/#/jobs/${this.#jobId}?${query}` : `${location.href.split("#")[0]}#t=${at}`;
    try {
      await navigator.clipboard.writeText(link);
      return "Link copied";
    } catch {
      return link;
    }
  }

  #applyTheme() {
    const wish = this.getAttribute("theme");
    const dark = wish === "dark" || (wish !== "light" && this.#dark.matches);
    this.#view.root.dataset.theme = dark ? "dark" : "light";
    this.#view.restyle();
  }

  #applyControls() {
    const wish = this.getAttribute("controls") ?? "";
    this.#view.root.dataset.controls = ["compact", "none"].includes(wish) ? wish : "full";
    this.#view.restyle();
  }

  /**
   * @param {string} name
   * @param {object} detail
   */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  /** @param {any} error */
  #report(error) {
    const message = String(error?.detail ?? error?.message ?? error);
    this.#tell("kinetag-error", { code: String(error?.code ?? "error"), message });
  }
}

/**
 * Read the attribute `labels`: a JSON list, or names between commas.
 * @param {string | null} text
 * @returns {string[] | null}
 */
function labelList(text) {
  if (text === null || text.trim() === "") return null;
  try {
    const list = JSON.parse(text);
    if (Array.isArray(list)) return list.map(String);
  } catch {
    // Not JSON: names between commas.
  }
  return text.split(",").map((one) => one.trim()).filter(Boolean);
}

/**
 * @param {TimelineData | null} data
 * @param {Segment[]} segments
 */
function ownExport(data, segments) {
  return new Blob([JSON.stringify({ ...data?.result, segments }, null, 2)], { type: "application/json" });
}

/** @param {string} label of the video element */
function fileStem(label) {
  const name = label.replace(/^Video /, "").replace(/\.[a-z0-9]{1,5}$/i, "");
  return name.replace(/[^\p{L}\p{N}._ -]/gu, "_").slice(-100) || "segments";
}

if (!customElements.get("kinetag-timeline")) customElements.define("kinetag-timeline", KinetagTimeline);
