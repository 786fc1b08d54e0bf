/**
 * Where videos are dropped: a field that says so, and while something is dragged the whole window.
 */

import { el } from "./dom.js";
import { filesOfDrop, filesOfFolder } from "./files.js";
import { icon } from "./icons.js";

/** @typedef {import("./context.js").PageContext} PageContext */

/**
 * @param {PageContext} context
 * @param {object} on
 * @param {(files: File[], leftOut: number) => void} on.onFound
 * @param {() => void} on.onUrl
 */
export function dropTarget({ signal, announce }, { onFound, onUrl }) {
  const files = el("input", { type: "file", multiple: true, class: "hidden-text", tabindex: "-1", "aria-label": "Videos", id: "pick-files" });
  const folder = el("input", { type: "file", multiple: true, webkitdirectory: true, class: "hidden-text", tabindex: "-1", "aria-label": "A folder of videos" });
  files.addEventListener("change", () => {
    const chosen = [...(files.files ?? [])];
    files.value = "";
    onFound(chosen, 0);
  });
  folder.addEventListener("change", () => {
    const found = filesOfFolder(folder.files ?? []);
    folder.value = "";
    onFound(found.files, found.leftOut);
  });
  const link = (/** @type {string} */ words, /** @type {() => void} */ onclick) => el("button", { type: "button", class: "link-button", onclick }, words);
  const strip = el(
    "div",
    { class: "drop" },
    el("span", { class: "drop-mark" }, icon("upload")),
    el(
      "p",
      {},
      el("strong", {}, "Drop videos or folders here"),
      el("span", { class: "drop-ways" }, "or ", link("choose files", () => files.click()), ", ", link("a folder", () => folder.click()), ", ", link("a URL", onUrl)),
    ),
    files,
    folder,
  );
  followDrags(strip, signal, async (transfer) => {
    const found = await filesOfDrop(transfer);
    if (found.files.length > 0) onFound(found.files, found.leftOut);
    else announce("There was no video in it.", { urgent: true });
  });
  return strip;
}

/**
 * @param {HTMLElement} strip
 * @param {AbortSignal} signal
 * @param {(transfer: DataTransfer) => void} onDrop
 */
function followDrags(strip, signal, onDrop) {
  // Every element under the pointer says enter and leave; the window is left with the last one.
  let depth = 0;
  const show = () => {
    strip.classList.toggle("over", depth > 0);
    document.documentElement.classList.toggle("dragging", depth > 0);
  };
  const holdsFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  const listen = (/** @type {"dragenter" | "dragleave" | "dragover" | "drop"} */ type, /** @type {(event: DragEvent) => void} */ does) =>
    window.addEventListener(
      type,
      (event) => {
        if (!holdsFiles(event)) return;
        event.preventDefault();
        does(event);
        show();
      },
      { signal },
    );
  listen("dragenter", () => {
    depth += 1;
  });
  listen("dragleave", () => {
    depth = Math.max(0, depth - 1);
  });
  listen("dragover", (event) => {
    if (event.dataTransfer !== null) event.dataTransfer.dropEffect = "copy";
  });
  listen("drop", (event) => {
    depth = 0;
    if (event.dataTransfer !== null) onDrop(event.dataTransfer);
  });
  signal.addEventListener("abort", () => {
    depth = 0;
    show();
  });
}
