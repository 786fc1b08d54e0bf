/**
 * The view `#/`: adding videos, what is being uploaded, and the list of jobs.
 */

import { ApiError, isAbort } from "../timeline/api.js";
import { openComposer } from "./composer.js";
import { deleteJob } from "./deleting.js";
import { el, fill } from "./dom.js";
import { dropTarget } from "./dropping.js";
import { welcome } from "./welcome.js";
import { filterBar } from "./filters.js";
import { icon } from "./icons.js";
import { JobList, filterOf } from "./joblist.js";
import { JobRow } from "./jobrow.js";
import { Looker } from "./looking.js";
import { writeHash } from "./router.js";
import { uploadSection } from "./uploadrows.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./uploads.js").UploadQueue} UploadQueue */

const MINUTE_MS = 60_000;
const NUM_SKELETONS = 4;

/**
 * @param {HTMLElement} root
 * @param {PageContext} context
 * @param {UploadQueue} uploads
 */
export function mountVideos(root, context, uploads) {
  new VideosView(root, context, uploads);
}

class VideosView {
  /** @type {Map<string, JobRow>} */
  #rows = new Map();
  #ul = el("ul", { class: "jobs", "aria-label": "Videos" });
  #more = el("button", { type: "button", class: "button more", hidden: true, onclick: () => void this.#loadMore() }, "Show older ones");
  #note = el("div", { class: "list-note" });
  #listed = el("div", { class: "listed" });

  /**
   * @param {HTMLElement} root
   * @param {PageContext} context
   * @param {UploadQueue} uploads
   */
  constructor(root, context, uploads) {
    this.context = context;
    this.uploads = uploads;
    context.setTitle("Videos");
    this.looker = new Looker(context, (row) => this.#paintable(row));
    this.list = new JobList(context, (job) => this.#changed(job));
    this.filters = filterBar(context, (filter) => context.navigate(writeHash("#/", filter), { replace: true }));
    this.strip = dropTarget(context, {
      onFound: (files, leftOut) => this.#compose(files, leftOut),
      onUrl: () => this.#compose([], 0, "url"),
    });
    this.empty = welcome(context);
    const add = el("button", { type: "button", class: "button primary", onclick: () => this.#compose([], 0) }, icon("plus"), "Add videos");
    this.#listed.append(this.filters.element, this.#note, this.#ul, this.#more);
    root.append(
      el("div", { class: "view-head" }, el("h1", { class: "grow" }, "Videos"), add),
      this.strip,
      uploadSection(context, uploads),
      this.empty,
      this.#listed,
    );
    this.#skeletons();
    uploads.onJob((job, { name }) => this.#made(job, name), context.signal);
    context.onQuery((query) => this.#choose(query));
    context.theme.onChange(() => this.#paint(), context.signal);
    window.addEventListener("resize", () => this.#paint(), { signal: context.signal });
    this.#tick();
    this.#choose(context.route.query);
    void uploads.recover();
  }

  /** @param {URLSearchParams} query */
  #choose(query) {
    const filter = filterOf(query);
    this.filters.show(filter);
    void this.list.choose(filter);
  }

  /**
   * @param {File[]} files
   * @param {number} leftOut
   * @param {"files" | "url"} [source]
   */
  #compose(files, leftOut, source) {
    if (document.querySelector("dialog[open]") !== null) return;
    const fresh = this.uploads.takeUp(files);
    if (files.length > 0 && fresh.length === 0) return;
    openComposer({
      context: this.context,
      cameras: this.filters.cameras,
      files: fresh,
      leftOut,
      source,
      onFiles: (wanted) => this.uploads.add(wanted),
      onJob: (job) => this.#made(job, job.video.name),
    });
  }

  /**
   * @param {Job} job
   * @param {string} name
   */
  #made(job, name) {
    this.list.put(job);
    this.context.announce(`${name} is at the service; its job is queued.`);
  }

  /** @param {Job | null} job the one that changed; null for the list */
  #changed(job) {
    if (job === null) this.#show();
    else this.#rows.get(job.id)?.update(job);
    this.looker.again();
  }

  #show() {
    const { jobs, error, nextToken, loading } = this.list;
    if (loading && jobs.length === 0) return;
    const filtered = Object.values(this.list.filter).some((value) => value !== "");
    this.filters.offer(jobs);
    this.#showRows(jobs);
    this.#more.hidden = nextToken === null;
    fill(this.#note, error !== null && errorBanner(error, () => void this.list.reload()), jobs.length === 0 && error === null && filtered && this.#nothingFits());
    const bare = jobs.length === 0 && error === null && !filtered;
    this.empty.hidden = !bare;
    this.#listed.hidden = bare;
    this.strip.classList.toggle("large", bare);
  }

  #nothingFits() {
    const clear = el("button", { type: "button", class: "link-button", onclick: () => this.context.navigate("#/") }, "Show all videos");
    return el("p", { class: "nothing" }, "No video fits these filters. ", clear);
  }

  /** @param {Job[]} jobs */
  #showRows(jobs) {
    /** @type {Map<string, JobRow>} */
    const rows = new Map();
    for (const job of jobs) {
      const row = this.#rows.get(job.id) ?? this.#row(job);
      row.update(job);
      rows.set(job.id, row);
    }
    for (const [id, row] of this.#rows) if (!rows.has(id)) this.looker.forget(row.element);
    this.#rows = rows;
    place(this.#ul, [...rows.values()].map((row) => row.element));
  }

  /** @param {Job} job */
  #row(job) {
    const row = new JobRow(job, {
      onCancel: (one) => void this.#ask(one, "cancel"),
      onRetry: (one) => void this.#ask(one, "retry"),
      onDelete: (one) => void this.#delete(one),
    });
    this.looker.watch(row);
    return row;
  }

  /** @param {JobRow} row */
  #paintable(row) {
    if (row.finding !== null) row.paint(this.context.theme.shown);
  }

  /**
   * @param {Job} job
   * @param {"cancel" | "retry"} what
   */
  async #ask(job, what) {
    try {
      const answer = await this.context.api.json(`/v1/jobs/${encodeURIComponent(job.id)}/${what}`, { method: "POST" });
      this.list.put(answer);
      this.context.announce(what === "cancel" ? `${job.video.name} is being stopped.` : `${job.video.name} is queued again.`);
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof ApiError)) throw error;
      this.context.toast(error.detail);
      void this.list.refresh(job.id);
    }
  }

  /** @param {Job} job */
  async #delete(job) {
    const gone = await deleteJob(this.context, job);
    if (gone.length === 0) return;
    const index = this.list.jobs.findIndex((one) => one.id === job.id);
    for (const id of gone) this.list.deleted(id);
    const next = this.list.jobs[Math.min(index, this.list.jobs.length - 1)];
    if (next !== undefined) this.#rows.get(next.id)?.link.focus();
  }

  async #loadMore() {
    const last = this.list.jobs.length;
    this.#more.disabled = true;
    try {
      await this.list.more();
      this.context.announce(`${this.list.jobs.length - last} more`);
      this.#rows.get(this.list.jobs[last]?.id ?? "")?.link.focus();
    } catch (error) {
      if (error instanceof ApiError) this.context.toast(error.detail);
      else if (!isAbort(error)) throw error;
    }
    this.#more.disabled = false;
  }

  #paint() {
    for (const row of this.#rows.values()) this.#paintable(row);
  }

  /** "3 min ago" grows older by itself. */
  #tick() {
    const timer = setInterval(() => {
      for (const row of this.#rows.values()) row.update(row.job);
    }, MINUTE_MS);
    this.context.signal.addEventListener("abort", () => clearInterval(timer));
  }

  #skeletons() {
    this.empty.hidden = true;
    fill(this.#ul, Array.from({ length: NUM_SKELETONS }, () => el("li", { class: "job", "aria-hidden": "true" }, el("div", { class: "skeleton job-poster" }), el("div", { class: "skeleton job-ghost" }))));
  }
}

/**
 * @param {ApiError} error
 * @param {() => void} onAgain
 */
function errorBanner(error, onAgain) {
  const again = el("button", { type: "button", class: "button small", onclick: onAgain }, "Try again");
  const words = el("p", { class: "grow" }, error.detail, " ", el("code", { class: "code" }, error.code));
  return el("div", { class: "banner danger", role: "alert" }, icon("warning"), words, again);
}

/**
 * Put elements in order, moving none that stands right: the focus and what is selected stay.
 * @param {Element} parent
 * @param {Element[]} wanted
 */
function place(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, index) => {
    const there = parent.children[index];
    if (there !== child) parent.insertBefore(child, there ?? null);
  });
}
