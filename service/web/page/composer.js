/**
 * The dialog in which videos are added: which files, or a URL; which model; what is known of them.
 */

import { ApiError } from "../timeline/api.js";
import { openDialog } from "./dialogs.js";
import { el, fill, freshId, say } from "./dom.js";
import { filesOfFolder, looksLikeVideo } from "./files.js";
import { count, size } from "./format.js";
import { icon } from "./icons.js";
import { freshKey, makeJob } from "./jobmaking.js";
import { recordingChoice } from "./recording.js";
import { recall, fingerprintOf } from "./remembered.js";
import { wishForm } from "./wishes.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./remembered.js").Wish} Wish */

const MAX_SHOWN = 200;

/**
 * @typedef {object} Composing
 * @property {PageContext} context
 * @property {string[]} cameras known ones, to be offered
 * @property {File[]} files to begin with
 * @property {number} leftOut files that were dropped with them and are no videos
 * @property {"files" | "url"} [source]
 * @property {(wanted: {file: File, wish: Wish}[]) => void} onFiles
 * @property {(job: Job) => void} onJob one was made of a URL
 */

/** @param {Composing} options */
export function openComposer(options) {
  new Composer(options);
}

class Composer {
  /** @type {File[]} */
  #files = [];
  #list = el("ul", { class: "picked", "aria-label": "Chosen files" });
  #note = el("p", { class: "hint" });
  #error = el("p", { class: "form-error", role: "alert" });
  #url = el("input", { class: "input", id: freshId("url"), type: "url", placeholder: "https://example.org/videos/dock.mp4", autocomplete: "off" });

  /** @param {Composing} options */
  constructor(options) {
    this.options = options;
    this.source = options.source ?? "files";
    this.form = wishForm(options.context, options.cameras);
    this.recording = recordingChoice(() => this.#showFiles());
    this.submit = el("button", { type: "submit", class: "button primary", form: "composer" });
    this.fileSide = el("div", { class: "compose-files" }, this.#pickers(), this.#list, this.#note, this.recording.element);
    this.urlSide = el(
      "div",
      { class: "field" },
      el("label", { for: this.#url.id }, "Address of the video"),
      this.#url,
      el("p", { class: "hint" }, "The service fetches it once. Addresses of private networks are refused."),
    );
    this.#url.addEventListener("input", () => this.#showSubmit());
    const body = el(
      "form",
      { id: "composer", class: "compose", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), this.#send()) },
      this.#tabs(),
      this.fileSide,
      this.urlSide,
      this.form.element,
      this.#error,
    );
    const cancel = el("button", { type: "button", class: "button", onclick: () => this.dialog.close() }, "Cancel");
    this.dialog = openDialog({ title: "Add videos", className: "wide", body: [body], actions: [cancel, this.submit] }, options.context.signal);
    this.#take(options.files, options.leftOut);
    this.#showSource();
    (options.files.length > 0 ? this.submit : this.dialog.querySelector("input"))?.focus();
  }

  #tabs() {
    const name = freshId("source");
    const tab = (/** @type {"files" | "url"} */ source, /** @type {string} */ words) =>
      el(
        "label",
        { class: "segment" },
        el("input", {
          type: "radio",
          name,
          value: source,
          checked: this.source === source,
          onchange: () => {
            this.source = source;
            this.#showSource();
          },
        }),
        el("span", {}, words),
      );
    return el("div", { class: "segments", role: "radiogroup", "aria-label": "Where the videos are" }, tab("files", "Files"), tab("url", "From a URL"));
  }

  #pickers() {
    const files = el("input", { type: "file", multiple: true, class: "hidden-text", tabindex: "-1", "aria-label": "Video files", accept: "video/*,.mkv,.ts,.mts,.m2ts,.avi,.mxf,.flv,.dav" });
    const folder = el("input", { type: "file", multiple: true, webkitdirectory: true, class: "hidden-text", tabindex: "-1", "aria-label": "A folder of videos" });
    files.addEventListener("change", () => {
      this.#take([...(files.files ?? [])], 0);
      files.value = "";
    });
    folder.addEventListener("change", () => {
      const found = filesOfFolder(folder.files ?? []);
      this.#take(found.files, found.leftOut);
      folder.value = "";
    });
    const button = (/** @type {HTMLInputElement} */ input, /** @type {string} */ shape, /** @type {string} */ words) =>
      el("button", { type: "button", class: "button small", onclick: () => input.click() }, icon(shape), words);
    return el("div", { class: "toolbar" }, button(files, "file", "Choose files"), button(folder, "folder", "Choose a folder"), files, folder);
  }

  /**
   * @param {File[]} files
   * @param {number} leftOut
   */
  #take(files, leftOut) {
    const known = new Set(this.#files.map(fingerprintOf));
    this.#files.push(...files.filter((file) => !known.has(fingerprintOf(file))));
    say(this.#note, leftOut === 0 ? "" : `${count(leftOut, "file")} that ${leftOut === 1 ? "is no video was" : "are no videos were"} left out.`);
    this.#showFiles();
  }

  #showFiles() {
    const shown = this.#files.slice(0, MAX_SHOWN).map((file) => this.#row(file));
    const hidden = this.#files.length - shown.length;
    fill(this.#list, shown, hidden > 0 && el("li", { class: "muted" }, `and ${hidden} more`));
    this.#list.hidden = this.#files.length === 0;
    this.recording.element.hidden = this.#files.length === 0;
    this.#showSubmit();
  }

  /** @param {File} file */
  #row(file) {
    const entry = recall(fingerprintOf(file));
    const begun = entry !== null && entry.videoId === null && entry.sent_bytes > 0;
    const remarks = [
      size(file.size),
      this.recording.wordsOf(file),
      begun && `${size(entry.sent_bytes)} are there already`,
    ].filter(Boolean);
    const remove = () => {
      this.#files = this.#files.filter((one) => one !== file);
      this.#showFiles();
    };
    return el(
      "li",
      {},
      icon(looksLikeVideo(file) ? "film" : "warning"),
      el(
        "div",
        { class: "grow" },
        el("p", { class: "truncate" }, el("bdi", {}, file.name)),
        el("p", { class: "hint" }, remarks.join(" · ")),
        !looksLikeVideo(file) && el("p", { class: "hint warn-text" }, "This does not look like a video; the service will tell."),
      ),
      el("button", { type: "button", class: "button quiet square", "aria-label": `Leave out ${file.name}`, onclick: remove }, icon("close")),
    );
  }

  #showSource() {
    this.fileSide.hidden = this.source !== "files";
    this.urlSide.hidden = this.source !== "url";
    say(this.#error, "");
    this.#showSubmit();
  }

  #showSubmit() {
    const num = this.#files.length;
    const byUrl = this.source === "url";
    say(this.submit, byUrl ? "Fetch and localize" : num === 0 ? "Upload" : `Upload ${count(num, "video")}`);
    this.submit.disabled = byUrl ? this.#url.value.trim() === "" : num === 0;
  }

  async #send() {
    const wish = this.form.read();
    if (this.source === "files") {
      this.options.onFiles(this.#files.map((file) => ({ file, wish: { ...wish, recorded_at: this.recording.of(file) } })));
      this.dialog.close();
      return;
    }
    this.submit.disabled = true;
    try {
      const { context } = this.options;
      const job = await makeJob(context.api, { url: this.#url.value.trim() }, wish, freshKey(), context.signal);
      this.dialog.close();
      this.options.onJob(job);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fill(this.#error, error.detail, " ", el("code", { class: "code" }, error.code));
      this.submit.disabled = false;
      this.#url.focus();
    }
  }
}
