/**
 * What stands where nothing is: an address that leads nowhere, a part that did not come.
 */

import { el, fill } from "./dom.js";

const REASONS = {
  unknown: ["There is nothing at this address", "The link may be old, or cut short."],
  gone: ["This video is not here any more", "It was deleted, or its time of retention is over."],
  unreachable: ["This part of the page did not load", "The service may be restarting."],
};

/**
 * @param {HTMLElement} root
 * @param {import("./context.js").PageContext} context
 * @param {keyof typeof REASONS} [reason]
 */
export function mountNowhere(root, context, reason = "unknown") {
  const [title = "", words = ""] = REASONS[reason];
  context.setTitle(title);
  fill(
    root,
    el(
      "div",
      { class: "middle" },
      el(
        "div",
        { class: "nowhere" },
        el("h1", {}, title),
        el("p", { class: "muted" }, words),
        reason !== "unreachable"
          ? el("a", { class: "button primary", href: "#/" }, "All videos")
          : el("button", { type: "button", class: "button primary", onclick: () => location.reload() }, "Load again"),
      ),
    ),
  );
}
