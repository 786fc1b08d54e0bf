/**
 * The view `#/jobs/{id}`: a job's timeline, once there is one, and what is known of it.
 */

import { ApiError, isAbort } from "../timeline/api.js";
import { deleteJob } from "./deleting.js";
import { el, fill, say } from "./dom.js";
import { openEmbedding } from "./embedding.js";
import { dateTime } from "./format.js";
import { icon } from "./icons.js";
import { factList, warningList } from "./jobfacts.js";
import { hasEnded, progressWords, statusWords } from "./jobwords.js";
import { mountNowhere } from "./nowhere.js";
import { jobHash } from "./router.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("../timeline/kinetag-timeline.js").KinetagTimeline} KinetagTimeline */

const NOT_FOUND = 404;
/** Nothing else gets into a path of the service: ".." would lead elsewhere. */
const JOB_ID = /^[\w-]{1,80}$/;
const MAX_NEWER = 200;

/**
 * @param {HTMLElement} root
 * @param {PageContext} context
 */
export function mountPlayer(root, context) {
  if (JOB_ID.test(context.route.rest)) new PlayerView(root, context);
  else mountNowhere(root, context);
}

class PlayerView {
  /** @type {Job | null} */
  #job = null;
  #shape = "";
  #title = el("h1", { class: "player-title" });
  #pill = el("span", { class: "pill" });
  #where = el("p", { class: "player-where" });
  #actions = el("div", { class: "toolbar player-actions" });
  #stage = el("div", { class: "stage" });
  #words = el("p", { class: "stage-words" });
  #bar = el("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "Progress" }, el("span"));
  #warnings = el("div", { class: "warnings" });
  #facts = el("section", { class: "facts-section", "aria-label": "About this video" });

  /**
   * @param {HTMLElement} root
   * @param {PageContext} context
   */
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.path = `/v1/jobs/${encodeURIComponent(context.route.rest)}`;
    say(this.#title, "…");
    const back = el("a", { class: "back", href: "#/" }, icon("back"), "All videos");
    root.append(
      el("div", { class: "player-head" }, back, el("div", { class: "player-line" }, el("div", { class: "grow" }, el("div", { class: "player-name" }, this.#title, this.#pill), this.#where), this.#actions)),
      this.#warnings,
      this.#stage,
      this.#facts,
    );
    context.setTitle("Video");
    context.live.onEvent((event) => this.#happened(event), context.signal);
    context.live.onGap(() => void this.#load(), context.signal);
    void this.#load();
  }

  async #load() {
    const { api, signal } = this.context;
    try {
      this.#show(await api.json(this.path, { signal }));
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === NOT_FOUND) this.#gone();
      else if (this.#job === null) this.#refused(error);
    }
  }

  /** @param {import("../timeline/events.js").ServerEvent} event */
  #happened({ type, data }) {
    if (data?.id !== this.#job?.id) return;
    if (type === "progress" && this.#job !== null) this.#show({ ...this.#job, ...data });
    else if (type.startsWith("job.")) void this.#load();
  }

  /** @param {Job} job */
  #show(job) {
    const first = this.#job === null;
    const before = this.#job?.status;
    this.#job = job;
    fill(this.#title, el("bdi", {}, job.video.name));
    this.context.setTitle(job.video.name);
    this.#pill.className = `pill ${job.status}`;
    say(this.#pill, statusWords(job));
    say(this.#where, whereWords(job));
    const shape = `${job.status} ${job.cancel_requested}`;
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#showActions(job);
      this.#showStage(job);
      void this.#showFacts(job);
    }
    if (!hasEnded(job)) this.#showProgress(job);
    if (first) void this.#neighbours(job);
    else if (before !== job.status) this.context.announce(`${job.video.name}: ${statusWords(job)}`);
  }

  /** @param {Job} job */
  #showStage(job) {
    if (job.status === "succeeded") void this.#timeline(job);
    else if (job.status === "failed") fill(this.#stage, stageCard("warning", "It failed", el("p", { class: "job-error" }, job.error?.message ?? "", " ", el("code", { class: "code" }, job.error?.code ?? ""))));
    else if (job.status === "canceled") fill(this.#stage, stageCard("stop", "It was stopped", el("p", {}, "What was computed is kept: a retry goes on from there.")));
    else fill(this.#stage, stageCard("clock", job.status === "queued" ? "It waits for its turn" : "It is being worked on", this.#words, this.#bar, el("p", { class: "hint" }, "This page follows by itself; you may close it.")));
  }

  /** @param {Job} job */
  #showProgress(job) {
    say(this.#words, progressWords(job));
    this.#bar.style.setProperty("--share", String(job.progress));
    this.#bar.setAttribute("aria-valuenow", String(Math.floor(job.progress * 100)));
    this.#bar.setAttribute("aria-valuetext", progressWords(job));
  }

  /** @param {Job} job */
  async #timeline(job) {
    const { credentials, onQuery, theme, signal, route } = this.context;
    fill(this.#stage, el("div", { class: "skeleton stage-ghost" }));
    await import("../timeline/kinetag-timeline.js");
    if (signal.aborted) return;
    const timeline = /** @type {KinetagTimeline} */ (document.createElement("kinetag-timeline"));
    timeline.credentials = credentials;
    timeline.setAttribute("controls", "full");
    timeline.setAttribute("theme", theme.shown);
    timeline.addEventListener("kinetag-ready", () => goTo(timeline, route.query), { once: true });
    onQuery((query) => goTo(timeline, query));
    timeline.setAttribute("job", job.id);
    theme.onChange(() => timeline.setAttribute("theme", theme.shown), signal);
    fill(this.#stage, timeline);
  }

  /** @param {Job} job */
  #showActions(job) {
    const button = (/** @type {string} */ shape, /** @type {string} */ words, /** @type {() => void} */ onclick, kind = "") =>
      el("button", { type: "button", class: `button ${kind}`, onclick }, icon(shape), words);
    fill(
      this.#actions,
      el("div", { class: "neighbours", id: "neighbours" }),
      job.status === "succeeded" && button("code", "Embed", () => openEmbedding(this.context, job)),
      !hasEnded(job) && !job.cancel_requested && button("stop", "Cancel", () => void this.#ask("cancel")),
      (job.status === "failed" || job.status === "canceled") && button("retry", "Retry", () => void this.#ask("retry"), "primary"),
      button("trash", "Delete", () => void this.#delete(job)),
    );
    this.#showNeighbours();
  }

  /** @type {{newer: Job | null, older: Job | null} | null} */
  #beside = null;

  /** @param {Job} job */
  async #neighbours(job) {
    const { api, signal } = this.context;
    const query = (/** @type {Record<string, string>} */ of) => api.json(`/v1/jobs?${new URLSearchParams(of)}`, { signal });
    try {
      const [older, newer] = await Promise.all([
        query({ created_before: job.created_at, page_size: "1" }),
        // The list is newest first: of those after this one, the last is its neighbour. Where there
        // are more than a page of them it is not known.
        query({ created_after: job.created_at, page_size: String(MAX_NEWER) }),
      ]);
      this.#beside = { older: older.jobs[0] ?? null, newer: newer.next_page_token === null ? (newer.jobs.at(-1) ?? null) : null };
      this.#showNeighbours();
    } catch (error) {
      if (!(error instanceof ApiError) && !isAbort(error)) throw error;
    }
  }

  #showNeighbours() {
    const place = this.#actions.querySelector(".neighbours");
    if (place === null) return;
    const link = (/** @type {string} */ shape, /** @type {string} */ words, /** @type {Job | null} */ job) =>
      job === null
        ? el("span", { class: "button square quiet", "aria-disabled": "true" }, icon(shape))
        : el("a", { class: "button square quiet", href: jobHash(job.id), title: `${words}: ${job.video.name}`, "aria-label": `${words}: ${job.video.name}` }, icon(shape));
    fill(place, link("left", "Newer", this.#beside?.newer ?? null), link("right", "Older", this.#beside?.older ?? null));
  }

  /** @param {"cancel" | "retry"} what */
  async #ask(what) {
    try {
      const answer = await this.context.api.json(`${this.path}/${what}`, { method: "POST" });
      if (what === "retry") this.context.navigate(jobHash(answer.id));
      else this.#show(answer);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.context.toast(error.detail);
      void this.#load();
    }
  }

  /** @param {Job} job */
  async #delete(job) {
    const gone = await deleteJob(this.context, job);
    if (gone.length > 0) this.context.navigate("#/");
  }

  /** @param {Job} job */
  async #showFacts(job) {
    const { api, signal } = this.context;
    try {
      const video = await api.json(`/v1/videos/${encodeURIComponent(job.video.id)}`, { signal });
      fill(this.#facts, el("h2", {}, "About this video"), factList(job, video));
      if (job.status !== "succeeded") return;
      const { warnings } = await api.json(`${this.path}/result`, { signal });
      fill(this.#warnings, warningList(warnings));
    } catch (error) {
      // A key that may not see videos still sees the timeline.
      if (!(error instanceof ApiError) && !isAbort(error)) throw error;
      if (error instanceof ApiError) fill(this.#facts, el("h2", {}, "About this video"), factList(job, null));
    }
  }

  #gone() {
    mountNowhere(this.root, this.context, "gone");
  }

  /** @param {ApiError} error */
  #refused(error) {
    say(this.#title, "The video cannot be shown");
    const again = el("button", { type: "button", class: "button", onclick: () => void this.#load() }, "Try again");
    fill(this.#stage, stageCard("warning", "The service refused", el("p", {}, error.detail, " ", el("code", { class: "code" }, error.code)), again));
  }
}

/**
 * @param {string} shape
 * @param {string} title
 * @param {...import("./dom.js").Child} body
 */
function stageCard(shape, title, ...body) {
  return el("div", { class: "card stage-card" }, el("span", { class: "step-mark" }, icon(shape)), el("h2", {}, title), body);
}

/**
 * Go to what an address names: `at`, a second, and the segment of `label` that begins nearest to it.
 *
 * Where `segment` says that one is meant, but no label which, any will do.
 * @param {KinetagTimeline} timeline that has its segments
 * @param {URLSearchParams} query
 */
function goTo(timeline, query) {
  const at = Number(query.get("at") ?? 0) || 0;
  const label = query.get("label");
  const anyLabel = label === null && query.has("segment");
  let nearest = -1;
  let leastAway = Infinity;
  timeline.segments.forEach((segment, index) => {
    const away = Math.abs(segment.start - at);
    if ((anyLabel || segment.label === label) && away < leastAway) [nearest, leastAway] = [index, away];
  });
  if (nearest >= 0) timeline.select(nearest);
  const seconds = query.has("at") ? at : timeline.currentTime;
  // The video may not be there yet: it begins where this says.
  timeline.setAttribute("start", String(seconds));
  timeline.seek(seconds);
}

/** @param {Job} job */
function whereWords(job) {
  const recorded = job.recorded_at === null ? null : `recorded ${dateTime(job.recorded_at)}`;
  return [job.camera, recorded ?? `added ${dateTime(job.created_at)}`, job.model].filter(Boolean).join(" · ");
}
