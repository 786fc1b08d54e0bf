/** "Tell me": the webhook of a saved search, with the secret that its messages are signed with. */

import { openDialog } from "./dialogs.js";
import { el, fill, freshId } from "./dom.js";
import { dateTime } from "./format.js";
import { icon } from "./icons.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./search-saved.js").SavedSearch} SavedSearch */

/**
 * @typedef {object} Webhook as `GET /v1/webhooks` tells of it.
 * @property {string} id
 * @property {string} url
 * @property {string | null} [search] the saved search it tells of.
 * @property {boolean} enabled
 * @property {string | null} disabled_reason
 * @property {string | null} failing_since
 */

const MAX_URL_LENGTH = 2048;

/**
 * Open the dialog of a saved search's webhook.
 * @param {PageContext} context
 * @param {SavedSearch} saved
 * @param {Webhook | undefined} webhook
 * @param {() => void} onChange is called when there is another webhook, or none.
 */
export function openNotify(context, saved, webhook, onChange) {
  const body = el("div", { class: "notify" });
  const dialog = openDialog({ title: "Tell me", body: [body] }, context.signal);
  const parts = { context, saved, dialog, body, onChange };
  if (webhook) showWebhook(parts, webhook);
  else showForm(parts);
}

/**
 * @typedef {object} Parts
 * @property {PageContext} context
 * @property {SavedSearch} saved
 * @property {HTMLDialogElement} dialog
 * @property {HTMLElement} body
 * @property {() => void} onChange
 */

/** @param {Parts} parts */
function showForm(parts) {
  const { context, saved, body, onChange } = parts;
  const id = freshId("url");
  const problem = el("p", { class: "form-problem", role: "alert" });
  const input = el("input", {
    id,
    class: "input",
    type: "url",
    required: true,
    maxlength: MAX_URL_LENGTH,
    placeholder: "https://hooks.example.com/kinetag",
    autocomplete: "off",
    spellcheck: "false",
  });
  const go = el("button", { type: "submit", class: "button primary" }, icon("bell"), "Tell me");
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const path = `/v1/searches/${encodeURIComponent(saved.id)}/webhook`;
      const made = await context.api.json(path, { method: "POST", body: { url: input.value.trim() } });
      onChange();
      showSecret(parts, made);
    } catch (error) {
      problem.textContent = messageOf(error);
      input.focus();
    }
    go.disabled = false;
  };
  fill(
    body,
    el(
      "p",
      {},
      "Each new clip that ",
      el("strong", {}, saved.name),
      " finds is sent to your address as a signed message.",
    ),
    el(
      "form",
      { class: "field", onsubmit: submit },
      el("label", { for: id }, "Address of the receiver"),
      input,
      problem,
      el("div", { class: "form-actions" }, go),
    ),
    aboutMessages(),
  );
  input.focus();
}

/**
 * @param {Parts} parts
 * @param {{id: string, url: string, secret: string}} made
 */
function showSecret(parts, made) {
  const { context, body, dialog } = parts;
  const copy = el("button", { type: "button", class: "button" }, icon("copy"), el("span", {}, "Copy"));
  const secret = el("input", {
    class: "input mono",
    type: "text",
    readonly: true,
    value: made.secret,
    "aria-label": "Secret",
    onfocus: () => secret.select(),
  });
  copy.addEventListener("click", async () => {
    const copied = await copyText(made.secret, secret);
    const said = copied ? "Copied" : "Press Ctrl+C";
    copy.lastElementChild?.replaceChildren(said);
    context.announce(said);
  });
  fill(
    body,
    el(
      "p",
      { class: "banner" },
      icon("check"),
      el("span", { class: "grow" }, "Made. Keep the secret where your receiver finds it: it is shown this once."),
    ),
    el("div", { class: "field" }, el("span", { class: "label" }, "Secret"), el("div", { class: "secret" }, secret, copy)),
    aboutMessages(),
    el(
      "div",
      { class: "form-actions" },
      testButton(parts, made.id),
      el("button", { type: "button", class: "button primary", onclick: () => dialog.close() }, "Done"),
    ),
  );
  secret.focus();
}

/**
 * @param {Parts} parts
 * @param {Webhook} webhook
 */
function showWebhook(parts, webhook) {
  const { context, body, dialog, onChange } = parts;
  const path = `/v1/webhooks/${encodeURIComponent(webhook.id)}`;
  const problem = el("p", { class: "form-problem", role: "alert" });
  /** @type {(ask: () => Promise<unknown>, said: string) => Promise<void>} */
  const attempt = async (ask, said) => {
    try {
      await ask();
      onChange();
      context.toast(said);
      dialog.close();
    } catch (error) {
      problem.textContent = messageOf(error);
    }
  };
  const toggle = () =>
    attempt(
      () => context.api.json(path, { method: "PATCH", body: { enabled: !webhook.enabled } }),
      webhook.enabled ? "Nobody is told any more." : "You are told again.",
    );
  const remove = () =>
    attempt(() => context.api.json(path, { method: "DELETE" }), "The webhook is deleted.");
  fill(
    body,
    stateOf(webhook),
    el("div", { class: "field" }, el("span", { class: "label" }, "Receiver"), el("p", { class: "mono break" }, webhook.url)),
    problem,
    aboutMessages(),
    el(
      "div",
      { class: "form-actions" },
      el("button", { type: "button", class: "button quiet push-left", onclick: remove }, icon("trash"), "Delete"),
      testButton(parts, webhook.id),
      el(
        "button",
        { type: "button", class: webhook.enabled ? "button" : "button primary", onclick: toggle },
        webhook.enabled ? "Switch off" : "Switch on",
      ),
    ),
  );
}

/** @param {Webhook} webhook */
function stateOf(webhook) {
  if (!webhook.enabled) {
    const reason = webhook.disabled_reason;
    const text = reason ? `Switched off by the service: ${reason}` : "Switched off. Nobody is told.";
    return banner("warn", text);
  }
  if (webhook.failing_since) {
    return banner("warn", `The receiver has not taken a message since ${dateTime(webhook.failing_since)}. They are sent again and again.`);
  }
  return banner("", "Each new clip is sent to your receiver.");
}

/**
 * @param {string} kind
 * @param {string} text
 */
function banner(kind, text) {
  return el(
    "p",
    { class: `banner ${kind}` },
    icon(kind ? "warning" : "bell"),
    el("span", { class: "grow" }, text),
  );
}

/**
 * @param {Parts} parts
 * @param {string} webhookId
 */
function testButton({ context }, webhookId) {
  const path = `/v1/webhooks/${encodeURIComponent(webhookId)}/test`;
  const test = el("button", { type: "button", class: "button" }, "Send a test");
  test.addEventListener("click", async () => {
    test.disabled = true;
    try {
      await context.api.json(path, { method: "POST" });
      context.toast("A test message is on its way.");
    } catch (error) {
      context.toast(messageOf(error));
    }
    test.disabled = false;
  });
  return test;
}

function aboutMessages() {
  const code = (/** @type {string} */ text) => el("code", {}, text);
  return el(
    "details",
    { class: "about" },
    el("summary", {}, "What is sent, and how to check it"),
    el(
      "p",
      {},
      "A POST of JSON per clip, ",
      code("segment.detected"),
      ", by the rules of Standard Webhooks: its libraries, in ten languages, check ",
      code("webhook-id"),
      ", ",
      code("webhook-timestamp"),
      " and ",
      code("webhook-signature"),
      " with the secret. Check the signature over the body as it came, remember ids, answer 2xx within ten seconds.",
    ),
    el(
      "p",
      {},
      "What is not taken is sent again for three and a half days. ",
      el("a", { href: "/docs#webhooks", target: "_blank", rel: "noopener" }, "All about webhooks"),
    ),
  );
}

/**
 * @param {string} text
 * @param {HTMLInputElement} shown where it can be copied by hand.
 * @returns {Promise<boolean>}
 */
async function copyText(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context there is no clipboard.
    shown.select();
    return false;
  }
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : "That did not work.";
}
