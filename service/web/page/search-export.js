/** The results of a search as a file: asked for with the key, saved by the browser. */

import { el } from "./dom.js";

/** @typedef {import("./context.js").PageContext} PageContext */

/** Formats of `GET /v1/segments`, and what files of them are called. */
export const FORMATS = Object.freeze([
  { format: "csv", ending: "csv", text: "CSV", about: "for spreadsheets" },
  { format: "jsonl", ending: "jsonl", text: "JSON Lines", about: "for programs" },
  { format: "grafana", ending: "grafana.json", text: "Grafana", about: "annotations" },
]);

/** A file's address is let go when the browser had time to begin with it. */
const RELEASE_MILLISECONDS = 60_000;

/**
 * Save all results of a search.
 * @param {PageContext} context
 * @param {URLSearchParams} query of the API.
 * @param {{format: string, ending: string}} wanted
 * @throws {import("../timeline/api.js").ApiError} the service refuses.
 */
export async function exportSearch(context, query, { format, ending }) {
  const asked = new URLSearchParams(query);
  asked.set("format", format);
  const file = await context.api.blob(`/v1/segments?${asked}`, { signal: context.signal });
  const address = URL.createObjectURL(file);
  const link = el("a", { href: address, download: `kinetag-segments.${ending}`, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), RELEASE_MILLISECONDS);
}
