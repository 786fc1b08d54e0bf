/**
 * The login: an API key, where the service wants one.
 */

import { Api, ApiError } from "../timeline/api.js";
import { el, fill, say } from "./dom.js";
import { readKey } from "./session.js";

/** @typedef {import("./session.js").Session} Session */

const UNAUTHORIZED = 401;
const FORBIDDEN = 403;

/**
 * @param {HTMLElement} root
 * @param {object} options
 * @param {Session} options.session
 * @param {boolean} options.revoked a key held until now
 * @param {() => void} options.onEntered the key holds, and the session has it
 */
export function mountLogin(root, { session, revoked, onEntered }) {
  const field = el("input", {
    class: "input mono",
    id: "login-key",
    type: "password",
    required: true,
    // Browsers may offer to keep it, as with any password: the reader decides.
    autocomplete: "current-password",
    spellcheck: "false",
    autocapitalize: "off",
    "aria-describedby": "login-hint login-error",
  });
  const error = el("p", { class: "login-error", id: "login-error", role: "alert" });
  const button = el("button", { class: "button primary", type: "submit" }, "Log in");
  const keep = async () => {
    button.disabled = true;
    const key = readKey(field.value);
    const refusal = key === null ? "That is no API key; it looks like kinetag_ID_SECRET." : await refusalOf(key);
    button.disabled = false;
    if (key !== null && refusal === null) {
      session.take(key);
      onEntered();
      return;
    }
    say(error, refusal ?? "");
    field.setAttribute("aria-invalid", "true");
    field.select();
    field.focus();
  };
  const form = el(
    "form",
    { class: "card login", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), keep()) },
    el("img", { src: "/web/page/mark.svg", alt: "", width: "48", height: "48" }),
    el("h1", {}, revoked ? "Log in again" : "Log in to Kinetag"),
    revoked && el("p", { class: "banner warn" }, "Your API key does not hold any longer: it was revoked, or has expired."),
    el(
      "div",
      { class: "field" },
      el("label", { for: "login-key" }, "API key"),
      // Password managers keep a key under a name.
      el("input", { type: "text", autocomplete: "username", value: "Kinetag", hidden: true }),
      field,
      el("p", { class: "hint", id: "login-hint" }, "It is kept in this tab only, until you close it or log out. An operator makes keys with ", el("code", {}, "kinetag keys create"), "."),
    ),
    error,
    button,
  );
  fill(root, el("div", { class: "middle" }, form));
  field.focus();
}

/**
 * Ask the service about a key before anything else is done with it.
 * @param {string} key
 * @returns {Promise<string | null>} why it cannot be used
 */
async function refusalOf(key) {
  try {
    await new Api({ credentials: (refused) => (refused === undefined ? key : null) }).json("/v1/usage");
    return null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // It holds, but may not see figures: views say by themselves what it may not.
    if (error.status === FORBIDDEN) return null;
    return error.status === UNAUTHORIZED ? "This key does not hold. Check that you copied all of it." : error.detail;
  }
}
