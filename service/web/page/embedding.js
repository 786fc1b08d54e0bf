/**
 * The dialog that shows how a page of another origin embeds a timeline.
 */

import { ApiError } from "../timeline/api.js";
import { openDialog } from "./dialogs.js";
import { el, fill, freshId, say } from "./dom.js";
import { clock } from "./format.js";
import { icon } from "./icons.js";

/** @typedef {import("./context.js").Job} Job */
/** @typedef {import("./context.js").PageContext} PageContext */

const MINUTES = [5, 10, 15];
const TICK_MS = 1000;

/**
 * @param {PageContext} context
 * @param {Job} job
 */
export function openEmbedding(context, job) {
  const origins = el("textarea", { class: "input mono", id: freshId("origins"), rows: 2, required: true, placeholder: "https://dash.example", spellcheck: "false", "aria-describedby": "origins-hint" });
  const lasts = el("select", { class: "select", id: freshId("lasts") }, MINUTES.map((one) => el("option", { value: one * 60, selected: one === 15 }, `${one} minutes`)));
  const error = el("p", { class: "form-error", role: "alert" });
  const button = el("button", { type: "submit", class: "button primary" }, "Make a token");
  const made = el("div", { class: "embed-made" });

  async function make() {
    say(error, "");
    button.disabled = true;
    try {
      const wanted = origins.value.split(/[\s,]+/).filter((one) => one !== "");
      const body = { job: job.id, origins: wanted, expires_in_seconds: Number(lasts.value) };
      const answer = await context.api.json("/v1/embed-tokens", { method: "POST", body, signal: context.signal });
      fill(made, snippets(answer, dialog));
      context.announce("The token is made. Two snippets follow.");
    } catch (refusal) {
      if (!(refusal instanceof ApiError)) throw refusal;
      fill(error, refusal.detail, " ", el("code", { class: "code" }, refusal.code));
      origins.focus();
    }
    button.disabled = false;
  }

  const dialog = openDialog(
    {
      title: "Embed this timeline",
      className: "wide",
      body: [
        el("p", {}, "A token lets pages of the sites you name show ", el("strong", {}, "this one video"), " with its timeline, and nothing else."),
        el(
          "form",
          { class: "embed-form", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), void make()) },
          el("div", { class: "field grow" }, el("label", { for: origins.id }, "Sites that may show it"), origins, el("p", { class: "hint", id: "origins-hint" }, "Scheme and host, one a line; no path.")),
          el("div", { class: "field" }, el("label", { for: lasts.id }, "Holds for"), lasts),
          button,
        ),
        error,
        made,
      ],
    },
    context.signal,
  );
  origins.focus();
}

/**
 * @param {{expires_at: string, iframe: string, element: string}} answer
 * @param {HTMLDialogElement} dialog
 */
function snippets(answer, dialog) {
  const left = el("span", { class: "mono" });
  const until_ms = Date.parse(answer.expires_at);
  const tick = () => {
    const seconds = (until_ms - Date.now()) / 1000;
    say(left, seconds > 0 ? `${clock(seconds)} left` : "it has expired");
  };
  const timer = setInterval(tick, TICK_MS);
  dialog.addEventListener("close", () => clearInterval(timer));
  tick();
  return [
    snippet("As an element", "Fits in best; themed by CSS variables, and your page hears its events.", answer.element),
    snippet("As a frame", "For pages that take no scripts.", answer.iframe),
    el(
      "div",
      { class: "banner" },
      icon("clock"),
      el(
        "p",
        { class: "grow" },
        "For a first look, paste either: ",
        left,
        ". To keep it working, your server asks for a new token with its API key and hands it to the page: give the element ",
        el("code", {}, "token-url"),
        " in place of ",
        el("code", {}, "token"),
        ". The key itself never goes to a browser.",
      ),
    ),
  ];
}

/**
 * @param {string} title
 * @param {string} hint
 * @param {string} code
 */
function snippet(title, hint, code) {
  const text = el("pre", { class: "snippet", tabindex: "0", role: "group", "aria-label": `${title}, the code` }, el("code", {}, code));
  const words = el("span", {}, "Copy");
  const copy = el("button", { type: "button", class: "button small", "aria-label": `Copy: ${title}`, onclick: () => void copied() }, icon("copy"), words);
  const told = el("span", { class: "hidden-text", role: "status" });

  async function copied() {
    const done = await copyText(text, code);
    say(words, done ? "Copied" : "Selected");
    copy.setAttribute("aria-label", `${words.textContent}: ${title}`);
    say(told, done ? "Copied" : "Selected; copy it with the keyboard");
  }

  return el("section", { class: "snippet-box" }, el("div", { class: "toolbar" }, el("div", { class: "grow" }, el("h3", {}, title), el("p", { class: "hint" }, hint)), copy), text, told);
}

/**
 * Copy a text; where the browser forbids it, select it.
 * @param {HTMLElement} shown
 * @param {string} text
 * @returns {Promise<boolean>} whether it was copied
 */
async function copyText(shown, text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    window.getSelection()?.selectAllChildren(shown);
    return false;
  }
}
