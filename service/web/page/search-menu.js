/** A button that opens a short list of things to do; it closes by itself. */

import { el, freshId } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {{text: string, about: string, act: () => void}} Entry */

/**
 * Make a button with a list below it.
 * @param {{icon: string, text: string}} look
 * @param {Entry[]} entries
 * @param {AbortSignal} signal
 */
export function menu(look, entries, signal) {
  const id = freshId("menu");
  const list = el("ul", { id, class: "menu-list card", hidden: true, role: "list" });
  const opener = el(
    "button",
    { type: "button", class: "button", "aria-expanded": "false", "aria-controls": id },
    icon(look.icon),
    el("span", { class: "button-text" }, look.text),
  );
  const element = el("div", { class: "menu" }, opener, list);
  const show = (/** @type {boolean} */ open) => {
    list.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
  };
  for (const { text, about, act } of entries) {
    const choose = () => {
      show(false);
      opener.focus();
      act();
    };
    list.append(
      el(
        "li",
        {},
        el("button", { type: "button", onclick: choose }, el("span", {}, text), el("span", { class: "hint" }, about)),
      ),
    );
  }
  opener.addEventListener("click", () => show(Boolean(list.hidden)));
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || list.hidden) return;
    show(false);
    opener.focus();
  });
  const outside = (/** @type {Event} */ event) => {
    if (event.target instanceof Node && !element.contains(event.target)) show(false);
  };
  document.addEventListener("pointerdown", outside, { signal });
  document.addEventListener("focusin", outside, { signal });
  return element;
}
