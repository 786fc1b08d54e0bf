/**
 * The search view: filters, a wall of clips, saved searches. The address says what is searched for.
 */

import { el, fill } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { icon } from "./icons.js";
import { Arrivals } from "./search-arrivals.js";
import { LabelColors } from "./search-colors.js";
import { exportSearch, FORMATS } from "./search-export.js";
import { Filters } from "./search-filters.js";
import { menu } from "./search-menu.js";
import { ResultView } from "./search-view.js";
import { SavedSearches } from "./search-saved.js";
import { apiQuery, CHOICES, EVERYTHING, readSearch, restrictions, searchAddress } from "./search-state.js";
import { momentInWords } from "./search-words.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./search-state.js").Search} Search */
/** @typedef {import("./search-filters.js").Facets} Facets */

/** While somebody types or drags, it is searched when he rests. */
const TYPING_MILLISECONDS = 250;

/** Facets are counted anew so long after jobs ended. */
const FACETS_MILLISECONDS = 1500;

const NARROW = "(max-width: 62rem)";

await loadStyle("/web/page/search.css");

/**
 * Show the search view.
 * @param {HTMLElement} root
 * @param {PageContext} context
 */
export function mountSearch(root, context) {
  new SearchPage(root, context).begin();
}

/** All that lives as long as the view is shown. */
class SearchPage {
  /**
   * @param {HTMLElement} root
   * @param {PageContext} context
   */
  constructor(root, context) {
    this.context = context;
    this.search = readSearch(context.route.query);
    /** @type {Facets} */
    this.facets = { labels: [], cameras: [], tags: [] };
    this.timer = 0;
    this.facetsTimer = 0;
    this.colors = new LabelColors();
    this.filters = new Filters((change, still) => this.change(change, still), this.colors);
    this.saved = new SavedSearches(context, (text, error) => this.onError(text, error));
    this.chips = el("ul", { class: "chips", role: "list", "aria-label": "Filters in use" });
    this.view = new ResultView(context, {
      onCount: (text) => fill(this.count, text),
      total: () => this.total(),
      colors: this.colors,
    });
    this.arrivals = new Arrivals(context, {
      query: () => apiQuery(this.search, new Date()),
      known: (segment) => this.view.has(segment),
      onShow: () => this.view.reload(),
    });
    this.count = el("p", { class: "search-count", "aria-live": "off" });
    this.panel = el("div", { class: "search-panel" }, this.saved.element, this.filters.element);
    this.side = el("aside", { class: "search-side card", "aria-label": "Filters" }, this.panel);
    root.className = "search";
    fill(root, this.head(), el("div", { class: "search-body" }, this.side, this.main()));
  }

  begin() {
    const { context } = this;
    context.setTitle("Search");
    context.onQuery((query) => this.apply(readSearch(query)));
    context.live.onEvent((event) => {
      if (event.type === "job.succeeded") {
        this.arrivals.onJob(String(event.data?.id ?? ""));
        this.loadFacetsSoon();
      }
    }, context.signal);
    context.live.onGap(() => {
      void this.arrivals.look();
      this.loadFacetsSoon();
    }, context.signal);
    context.signal.addEventListener("abort", () => {
      clearTimeout(this.timer);
      clearTimeout(this.facetsTimer);
    });
    void this.loadFacets();
    void this.saved.load();
    this.apply(this.search);
  }

  head() {
    const orders = /** @type {const} */ ([
      ["time", "Newest first"],
      ["score", "Highest score"],
    ]);
    this.order = el(
      "select",
      {
        class: "select",
        "aria-label": "Order",
        onchange: () => this.change({ order: this.order?.value === "score" ? "score" : "time" }, false),
      },
      orders.map(([value, text]) => el("option", { value }, text)),
    );
    this.views = ["wall", "table"].map((view) =>
      el(
        "button",
        {
          type: "button",
          class: "button square",
          "aria-pressed": "false",
          "aria-label": view === "wall" ? "Wall of clips" : "Table",
          title: view === "wall" ? "Wall of clips" : "Table",
          "data-view": view,
          onclick: () => this.change({ view: view === "wall" ? "wall" : "table" }, false, true),
        },
        icon(view === "wall" ? "grid" : "rows"),
      ),
    );
    const exports = FORMATS.map((one) => ({ ...one, act: () => void this.export(one) }));
    this.openFilters = el(
      "button",
      { type: "button", class: "button search-open-filters", "aria-haspopup": "dialog", onclick: () => this.showFilters() },
      icon("filter"),
      el("span", {}, "Filters"),
    );
    return el(
      "div",
      { class: "view-head search-head" },
      el("div", { class: "search-title" }, el("h1", {}, "Search"), this.count),
      el(
        "div",
        { class: "search-tools" },
        this.openFilters,
        this.order,
        el("div", { class: "segmented", role: "group", "aria-label": "Shown as" }, this.views),
        menu({ icon: "download", text: "Export" }, exports, this.context.signal),
        el(
          "button",
          { type: "button", class: "button", onclick: () => this.saved.save(this.search, this.proposal()) },
          icon("bookmark"),
          el("span", { class: "button-text" }, "Save search"),
        ),
      ),
    );
  }

  main() {
    return el(
      "section",
      { class: "search-main", "aria-label": "Results" },
      this.chips,
      this.arrivals.element,
      this.view.element,
    );
  }

  /**
   * Search for this, as the address says.
   * @param {Search} search
   */
  apply(search) {
    clearTimeout(this.timer);
    this.search = search;
    this.draw();
    this.arrivals.forget();
    this.view.show(search);
  }

  draw() {
    const { search } = this;
    this.filters.show(search, this.facets);
    this.saved.show(search);
    if (this.order) this.order.value = search.order;
    for (const button of this.views ?? []) {
      button.setAttribute("aria-pressed", String(button.dataset["view"] === search.view));
    }
    this.drawChips();
  }

  drawChips() {
    const narrow = restrictions(this.search, momentInWords);
    this.chips.hidden = narrow.length === 0;
    const label = narrow.length > 0 ? `Filters · ${narrow.length}` : "Filters";
    this.openFilters?.lastElementChild?.replaceChildren(label);
    const lines = narrow.map(({ kind, value, without }) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            class: "chip",
            title: `Remove ${kind} ${value}`,
            onclick: () => {
              this.context.navigate(searchAddress(without));
              this.focusChips();
            },
          },
          el("span", { class: "hidden-text" }, "Remove "),
          el("span", { class: "muted" }, kind),
          " ",
          el("span", { class: "chip-value" }, value),
          icon("close"),
        ),
      ),
    );
    const { order, view } = this.search;
    const cleared = searchAddress({ ...EVERYTHING, order, view });
    const clear = el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          class: "button quiet small",
          onclick: () => {
            this.context.navigate(cleared);
            this.focusChips();
          },
        },
        "Clear all",
      ),
    );
    fill(this.chips, lines, narrow.length > 1 && clear);
  }

  /** The pressed chip is gone: the focus goes to the next, or to the heading. */
  focusChips() {
    const next = this.chips.querySelector("button") ?? document.querySelector("h1");
    if (next instanceof HTMLElement) next.focus({ preventScroll: true });
  }

  /**
   * Search for something else.
   * @param {Partial<Search>} change
   * @param {boolean} still it goes on: the address waits until it has ended.
   * @param {boolean} [replace] whether Back leads past it.
   */
  change(change, still, replace = false) {
    const next = { ...this.search, ...change };
    clearTimeout(this.timer);
    if (still) {
      this.search = next;
      this.drawChips();
      this.timer = window.setTimeout(() => this.view.show(next), TYPING_MILLISECONDS);
      return;
    }
    const address = searchAddress(next);
    if (address === searchAddress(readSearch(queryOfAddress()))) this.apply(next);
    else this.context.navigate(address, { replace });
  }

  /** The filters as a dialog, where there is no room beside the results. */
  showFilters() {
    const show = el("button", { type: "button", class: "button primary grow", onclick: () => dialog.close() }, "Show clips");
    const dialog = openDialog(
      { title: "Filters", className: "search-sheet", body: [this.panel], actions: [show] },
      this.context.signal,
    );
    dialog.addEventListener("close", () => this.side.append(this.panel));
    // A saved search that is opened, or a wider window, shows the results.
    matchMedia(NARROW).addEventListener("change", () => dialog.close(), { once: true });
    window.addEventListener("popstate", () => dialog.close(), { once: true });
  }

  loadFacetsSoon() {
    clearTimeout(this.facetsTimer);
    this.facetsTimer = window.setTimeout(() => void this.loadFacets(), FACETS_MILLISECONDS);
  }

  async loadFacets() {
    const { api, signal } = this.context;
    try {
      const found = await api.json("/v1/segments/facets", { signal });
      for (const choice of CHOICES) this.facets[choice] = found[choice] ?? [];
    } catch {
      return; // The results tell what is wrong.
    }
    this.colors.learn(this.facets.labels.map(({ value }) => value));
    this.filters.show(this.search, this.facets);
    this.colors.repaint(this.view.element);
    this.view.onTotal();
  }

  /** How many clips there are, without any filter. */
  total() {
    return this.facets.labels.reduce((sum, { count }) => sum + count, 0);
  }

  /** @param {import("./search-export.js").Format} format */
  async export(format) {
    try {
      const query = apiQuery(this.search, new Date());
      query.set("order", this.search.order);
      const all = await exportSearch(this.context, query, format);
      if (all) this.context.announce("The file is saved.");
      else this.context.toast("The file has as many clips as one can hold; narrow the search for the others.");
    } catch (error) {
      this.onError("The export did not work.", error);
    }
  }

  /** A name for the present search. */
  proposal() {
    const values = restrictions(this.search, momentInWords).map(({ value }) => value);
    return values.join(", ").slice(0, 80) || "Everything";
  }

  /**
   * @param {string} text
   * @param {unknown} error
   */
  onError(text, error) {
    if (this.context.signal.aborted) return;
    this.context.toast(error instanceof Error ? `${text} ${error.message}` : text);
  }
}

/** The query that the address has now. */
function queryOfAddress() {
  return new URLSearchParams(location.hash.split(/\?(.*)/s)[1] ?? "");
}

/**
 * Load a style sheet once, before anything needs it.
 * @param {string} href
 * @returns {Promise<void>}
 */
function loadStyle(href) {
  return new Promise((resolve) => {
    const link = el("link", { rel: "stylesheet", href });
    link.addEventListener("load", () => resolve());
    // Without it the view is plain, but works.
    link.addEventListener("error", () => resolve());
    document.head.append(link);
  });
}
