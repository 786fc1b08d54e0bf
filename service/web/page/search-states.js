/** What is shown where there are no results: why, and what can be done about it. */

import { UNREACHABLE } from "../timeline/api.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { searchAddress } from "./search-state.js";

/** @typedef {import("./search-state.js").Restriction} Restriction */
/** @typedef {import("./dom.js").Child} Child */

const NUM_SKELETONS = 12;
const FORBIDDEN = 403;

/** A wall of places where clips will be. */
export function skeleton() {
  const cards = Array.from({ length: NUM_SKELETONS }, () =>
    el(
      "li",
      { class: "clip-skeleton" },
      el("div", { class: "skeleton" }),
      el("div", { class: "skeleton" }),
      el("div", { class: "skeleton" }),
    ),
  );
  return el("ul", { class: "clip-skeletons", "aria-hidden": "true" }, cards);
}

/** Nothing has been found in any video yet. */
export function nothingYet() {
  return state(
    "film",
    "Nothing to search yet",
    el("p", {}, "When a video has been looked through, every action found in it is here."),
    el("a", { class: "button primary", href: "#/" }, "Add a video"),
  );
}

/**
 * Nothing passes the filters.
 * @param {Restriction[]} narrow all filters.
 * @param {(Restriction & {some: string})[]} hints those without which something is found.
 */
export function nothingMatches(narrow, hints) {
  const advice =
    hints.length > 1
      ? "Something is found without one of these filters:"
      : hints.length === 1
        ? "Something is found without this filter:"
        : narrow.length > 1
          ? "No single filter is to blame; begin anew with fewer."
          : "";
  return state(
    "search",
    "No clip matches",
    el("p", {}, advice),
    el(
      "ul",
      { class: "hints", role: "list" },
      hints.map(({ kind, value, without, some }) =>
        el(
          "li",
          {},
          el(
            "a",
            { class: "button", href: searchAddress(without) },
            el("span", {}, "Without "),
            el("span", { class: "muted" }, kind),
            el("strong", { class: "hint-value" }, value),
            el("span", { class: "pill" }, some),
          ),
        ),
      ),
    ),
    el("a", { class: "button quiet", href: "#/search" }, "Search everything"),
  );
}

/**
 * The service refused, or did not answer.
 * @param {unknown} error
 * @param {() => void} retry
 */
export function failure(error, retry) {
  const { status = 0, code = UNREACHABLE, message = "" } = /** @type {any} */ (error ?? {});
  const again = el("button", { type: "button", class: "button primary", onclick: retry }, icon("retry"), "Try again");
  if (status === FORBIDDEN) {
    return state(
      "warning",
      "This key may not search",
      el("p", {}, message),
      el("p", { class: "muted" }, "Log in with a key that has the scope, or ask whoever made this one."),
    );
  }
  if (code === UNREACHABLE) {
    return state(
      "warning",
      "The service does not answer",
      el("p", {}, "It may be restarting, or the connection is down."),
      again,
    );
  }
  return state("warning", "The search did not work", el("p", {}, message), again);
}

/**
 * @param {string} picture
 * @param {string} title
 * @param {...Child} children
 */
function state(picture, title, ...children) {
  return el(
    "div",
    { class: "search-state" },
    el("span", { class: "search-state-icon" }, icon(picture)),
    el("h2", {}, title),
    ...children,
  );
}
