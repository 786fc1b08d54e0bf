/**
 * Uploads on their way, and those that an earlier page left unfinished.
 */

import { confirmDialog } from "./dialogs.js";
import { el, fill, say } from "./dom.js";
import { about, count, percent, size } from "./format.js";
import { icon } from "./icons.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./upload.js").Upload} Upload */
/** @typedef {import("./uploads.js").Interrupted} Interrupted */
/** @typedef {import("./uploads.js").UploadQueue} UploadQueue */

/**
 * Show the uploads; nothing is seen where there are none.
 * @param {PageContext} context
 * @param {UploadQueue} queue
 */
export function uploadSection(context, queue) {
  const list = el("ul", { class: "uploads" });
  const heading = el("h2", {}, "Uploads");
  const section = el("section", { class: "card upload-card", "aria-label": "Uploads" }, heading, list);
  /** @type {Map<Upload, HTMLElement>} */
  const rows = new Map();

  const show = () => {
    for (const upload of rows.keys()) if (!queue.uploads.includes(upload)) rows.delete(upload);
    for (const upload of queue.uploads) {
      if (!rows.has(upload)) rows.set(upload, uploadRow(context, queue, upload));
    }
    const left = queue.interrupted.map((one) => interruptedRow(context, queue, one));
    fill(list, [...rows.values()], left);
    section.hidden = rows.size + left.length === 0;
  };
  queue.onList(show, context.signal);
  show();
  return section;
}

/**
 * @param {PageContext} context
 * @param {UploadQueue} queue
 * @param {Upload} upload
 */
function uploadRow(context, queue, upload) {
  const words = el("p", { class: "upload-words" });
  const bar = el("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": `Upload of ${upload.name}` }, el("span"));
  const actions = el("div", { class: "job-actions" });
  let shown = "";

  const show = () => {
    const share = upload.size_bytes === 0 ? 0 : upload.sent_bytes / upload.size_bytes;
    bar.style.setProperty("--share", String(share));
    bar.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
    bar.classList.toggle("still", upload.state !== "sending" && upload.state !== "finishing");
    const { error } = upload;
    if (upload.state === "failed" && error !== null) fill(words, icon("warning"), el("span", {}, error.message, " ", el("code", { class: "code" }, error.code)));
    else say(words, uploadWords(upload));
    words.classList.toggle("job-error", upload.state === "failed");
    if (upload.state === shown) return;
    const told = shown !== "" && TOLD.has(upload.state);
    shown = upload.state;
    if (told) context.announce(`${upload.name}: ${words.textContent}`, { urgent: upload.state === "failed" });
    showActions();
  };

  const button = (/** @type {string} */ shape, /** @type {string} */ title, /** @type {() => void} */ onclick) =>
    el("button", { type: "button", class: "button quiet square", title, "aria-label": `${title}: ${upload.name}`, onclick }, icon(shape));

  function showActions() {
    const focused = actions.contains(document.activeElement);
    const first =
      upload.state === "paused"
        ? button("play", "Resume", () => queue.resume(upload))
        : upload.state === "failed"
          ? button("retry", "Try again", () => queue.resume(upload))
          : upload.state === "retrying"
            ? button("retry", "Try now", () => upload.wake())
            : upload.state === "finishing"
              ? null
              : button("pause", "Pause", () => queue.pause(upload));
    fill(actions, first, button("close", "Cancel", () => void cancel(context, queue, upload)));
    if (focused) /** @type {HTMLElement | null} */ (actions.querySelector("button"))?.focus();
  }

  upload.onChange(show, context.signal);
  show();
  return el(
    "li",
    { class: "upload" },
    icon("upload"),
    el("div", { class: "grow" }, el("p", { class: "upload-name truncate" }, el("bdi", {}, upload.name)), bar, words),
    actions,
  );
}

const TOLD = new Set(["paused", "failed", "retrying", "elsewhere", "finishing"]);

/** @param {Upload} upload */
function uploadWords(upload) {
  const { state, sent_bytes, size_bytes } = upload;
  const done = `${size(sent_bytes)} of ${size(size_bytes)}`;
  switch (state) {
    case "waiting":
      return sent_bytes > 0 ? `Waiting · ${done}` : `Waiting · ${size(size_bytes)}`;
    case "starting":
      return "Starting…";
    case "paused":
      return `Paused · ${done}`;
    case "elsewhere":
      return "Another tab is sending this file; this one waits for it.";
    case "finishing":
      return "Sent; making its job…";
    case "retrying":
      return `${upload.error?.message ?? ""} Trying again ${retryWords(upload)}.`;
    default:
      return [done, percent(sent_bytes / size_bytes), ...paceWords(upload)].join(" · ");
  }
}

/** @param {Upload} upload */
function retryWords(upload) {
  const seconds = Math.ceil(((upload.retryAt_ms ?? 0) - Date.now()) / 1000);
  return seconds > 3600 ? "when you have logged in" : `in ${Math.max(1, seconds)} s`;
}

/** @param {Upload} upload */
function paceWords(upload) {
  const { rate } = upload.pace;
  if (rate === null || rate <= 0) return [];
  return [`${size(rate)}/s`, `${about((upload.size_bytes - upload.sent_bytes) / rate)} left`];
}

/**
 * @param {PageContext} context
 * @param {UploadQueue} queue
 * @param {Upload} upload
 */
async function cancel(context, queue, upload) {
  const begun = upload.sent_bytes > 0 && upload.state !== "failed";
  const sure =
    !begun ||
    (await confirmDialog(
      {
        title: "Cancel this upload?",
        body: [el("p", {}, "The ", size(upload.sent_bytes), " of ", el("bdi", {}, upload.name), " that have arrived are deleted from the service.")],
        confirm: "Cancel the upload",
        cancel: "Go on",
      },
      context.signal,
    ));
  if (!sure) return;
  await queue.cancel(upload);
  context.announce(`The upload of ${upload.name} was canceled.`);
}

/**
 * @param {PageContext} context
 * @param {UploadQueue} queue
 * @param {Interrupted} one
 */
function interruptedRow(context, queue, one) {
  const input = el("input", { type: "file", class: "hidden-text", tabindex: "-1", "aria-label": `The file ${one.name}` });
  input.addEventListener("change", () => {
    const others = queue.takeUp([...(input.files ?? [])]);
    input.value = "";
    if (others.length > 0) context.toast(`That is another file: ${one.name} has ${count(one.size_bytes, "byte")}.`);
  });
  const share = one.size_bytes === 0 ? 0 : one.sent_bytes / one.size_bytes;
  const bar = el("div", { class: "bar still", role: "progressbar", "aria-label": `Upload of ${one.name}`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": Math.floor(share * 100) }, el("span"));
  bar.style.setProperty("--share", String(share));
  return el(
    "li",
    { class: "upload" },
    icon("upload"),
    el(
      "div",
      { class: "grow" },
      el("p", { class: "upload-name truncate" }, el("bdi", {}, one.name)),
      bar,
      el("p", { class: "upload-words" }, `Interrupted · ${size(one.sent_bytes)} of ${size(one.size_bytes)} are there · choose the file again to go on`),
    ),
    el(
      "div",
      { class: "job-actions" },
      input,
      el("button", { type: "button", class: "button small", "aria-label": `Choose file ${one.name} again`, onclick: () => input.click() }, "Choose file"),
      el("button", { type: "button", class: "button quiet square", title: "Discard", "aria-label": `Discard: ${one.name}`, onclick: () => void queue.discard(one) }, icon("close")),
    ),
  );
}
