/**
 * Dialogs: the browser's own, which keeps the focus inside, gives it back, and closes by Escape.
 */

import { el, freshId } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * @typedef {object} DialogParts
 * @property {string} title
 * @property {string} [className]
 * @property {Child[]} body
 * @property {Child[]} [actions] buttons at its foot
 */

/**
 * Open a dialog. It is gone from the document when it closes; `signal` closes it.
 * @param {DialogParts} parts
 * @param {AbortSignal} [signal]
 * @returns {HTMLDialogElement}
 */
export function openDialog({ title, className = "", body, actions = [] }, signal) {
  const titleId = freshId("dialog");
  const closing = el(
    "button",
    { type: "button", class: "button quiet square", "aria-label": "Close", onclick: () => dialog.close() },
    icon("close"),
  );
  const dialog = el(
    "dialog",
    { class: `dialog ${className}`, "aria-labelledby": titleId },
    el("header", { class: "dialog-head" }, el("h2", { id: titleId }, title), closing),
    el("div", { class: "dialog-body" }, body),
    actions.length > 0 && el("footer", { class: "dialog-foot" }, actions),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("pointerdown", (event) => {
    // The backdrop is the dialog itself, outside of its children.
    if (event.target === dialog && !inside(dialog, event)) dialog.close();
  });
  signal?.addEventListener("abort", () => dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Ask before something is done that cannot be undone.
 * @param {object} question
 * @param {string} question.title
 * @param {Child[]} question.body what will happen
 * @param {string} question.confirm the word on the button that does it
 * @param {string} [question.cancel]
 * @param {boolean} [question.danger]
 * @param {AbortSignal} [signal]
 * @returns {Promise<boolean>}
 */
export function confirmDialog({ title, body, confirm, cancel = "Keep", danger = true }, signal) {
  return new Promise((resolve) => {
    let agreed = false;
    const agree = () => {
      agreed = true;
      dialog.close();
    };
    const keep = el("button", { type: "button", class: "button", onclick: () => dialog.close() }, cancel);
    const kind = danger ? "button danger" : "button primary";
    const does = el("button", { type: "button", class: kind, onclick: agree }, confirm);
    const dialog = openDialog({ title, className: "narrow", body, actions: [keep, does] }, signal);
    keep.focus();
    dialog.addEventListener("close", () => resolve(agreed));
  });
}

/**
 * @param {Element} box
 * @param {PointerEvent} event
 */
function inside(box, event) {
  const { left, right, top, bottom } = box.getBoundingClientRect();
  return event.clientX >= left && event.clientX <= right && event.clientY >= top && event.clientY <= bottom;
}
