/**
 * What stands where nothing is: an address that leads nowhere, a part that did not come.
 */

import { el, fill } from "./dom.js";

/**
 * @param {HTMLElement} root
 * @param {import("./context.js").PageContext} context
 * @param {"unknown" | "unreachable"} [reason]
 */
export function mountNowhere(root, context, reason = "unknown") {
  const unknown = reason === "unknown";
  const title = unknown ? "There is nothing at this address" : "This part of the page did not load";
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
        el("p", { class: "muted" }, unknown ? "The link may be old, or cut short." : "The service may be restarting."),
        unknown
          ? el("a", { class: "button primary", href: "#/" }, "All videos")
          : el("button", { type: "button", class: "button primary", onclick: () => location.reload() }, "Load again"),
      ),
    ),
  );
}
