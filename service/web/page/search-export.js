/** The results of a search as a file: asked for with the key, page by page, saved by the browser. */

import { el } from "./dom.js";

/** @typedef {import("./context.js").PageContext} PageContext */

/**
 * @typedef {object} Format of `GET /v1/segments`.
 * @property {string} format
 * @property {string} ending of files of it.
 * @property {string} text
 * @property {string} about
 * @property {string} type of media.
 * @property {(pages: Blob[]) => Promise<BlobPart[]>} join makes one file of pages.
 */

/** @type {readonly Format[]} */
export const FORMATS = Object.freeze([
  {
    format: "csv",
    ending: "csv",
    text: "CSV",
    about: "for spreadsheets",
    type: "text/csv",
    join: joinTables,
  },
  {
    format: "jsonl",
    ending: "jsonl",
    text: "JSON Lines",
    about: "for programs",
    type: "application/x-ndjson",
    join: async (pages) => pages,
  },
  {
    format: "grafana",
    ending: "grafana.json",
    text: "Grafana",
    about: "annotations",
    type: "application/json",
    join: joinArrays,
  },
]);

/** A page of a file holds 10,000 segments; what a browser can save at once has an end. */
const MAX_PAGES = 50;

/** A file's address is let go when the browser had time to begin with it. */
const RELEASE_MILLISECONDS = 60_000;

/**
 * Save all results of a search.
 * @param {PageContext} context
 * @param {URLSearchParams} query of the API.
 * @param {Format} wanted
 * @returns {Promise<boolean>} whether all of them are in the file.
 * @throws {import("../timeline/api.js").ApiError} the service refuses.
 */
export async function exportSearch(context, query, { format, ending, type, join }) {
  const asked = new URLSearchParams(query);
  asked.set("format", format);
  /** @type {string | null} */
  let path = `/v1/segments?${asked}`;
  const pages = [];
  while (path !== null && pages.length < MAX_PAGES) {
    const answer = await context.api.request(path, { signal: context.signal });
    pages.push(await answer.blob());
    path = nextPage(answer.headers.get("Link"));
  }
  save(new Blob(await join(pages), { type }), `kinetag-segments.${ending}`);
  return path === null;
}

/**
 * Return the address of the next page.
 *
 * Source: RFC 8288.
 * @param {string | null} link the header.
 */
export function nextPage(link) {
  return link?.match(/<([^>]*)>\s*;\s*rel="?next"?/)?.[1] ?? null;
}

/**
 * @param {Blob} file
 * @param {string} name
 */
function save(file, name) {
  const address = URL.createObjectURL(file);
  const link = el("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), RELEASE_MILLISECONDS);
}

/**
 * Join tables: each page has the header, the file has it once.
 * @param {Blob[]} pages
 */
async function joinTables(pages) {
  const [first, ...others] = pages;
  const rest = others.map(async (page) => (await page.text()).replace(/^.*\r?\n/, ""));
  return [...(first ? [first] : []), ...(await Promise.all(rest))];
}

/** @param {Blob[]} pages each an array in JSON. */
async function joinArrays(pages) {
  if (pages.length === 1) return pages;
  const lists = await Promise.all(pages.map(async (page) => JSON.parse(await page.text())));
  return [JSON.stringify(lists.flat())];
}
