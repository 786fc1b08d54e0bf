/** Saved searches: opened, made, renamed, deleted; and a bell for those that tell somebody. */

import { confirmDialog, openDialog } from "./dialogs.js";
import { el, fill, freshId } from "./dom.js";
import { icon } from "./icons.js";
import { openNotify } from "./search-notify.js";
import { savedFilter, searchAddress, searchOfFilter } from "./search-state.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./search-state.js").Search} Search */
/** @typedef {import("./search-notify.js").Webhook} Webhook */

/**
 * @typedef {object} SavedSearch as `GET /v1/searches` tells of it.
 * @property {string} id
 * @property {string} name
 * @property {Record<string, unknown>} filter
 * @property {string} created_at
 */

/** Names are as long as the service takes them. */
const MAX_NAME_LENGTH = 255;

const NOT_FOUND = 404;

/** The list of saved searches. */
export class SavedSearches {
  /**
   * @param {PageContext} context
   * @param {(text: string, error: unknown) => void} onError
   */
  constructor(context, onError) {
    this.context = context;
    this.onError = onError;
    /** @type {SavedSearch[]} */
    this.saved = [];
    /** @type {Map<string, Webhook>} by the search they are of. */
    this.webhooks = new Map();
    this.list = el("ul", { class: "saved-list", role: "list" });
    this.none = el("p", { class: "hint" }, "Keep a search to open it again, or to be told of what it finds.");
    this.element = el(
      "section",
      { class: "saved", "aria-labelledby": "saved-title" },
      el("h2", { id: "saved-title", class: "filter-title" }, "Saved searches"),
      this.list,
      this.none,
    );
    /** @type {Search | null} */
    this.present = null;
  }

  /** Ask for what is saved. */
  async load() {
    const { api, signal } = this.context;
    try {
      this.saved = (await api.json("/v1/searches", { signal })).searches;
      this.draw();
      await this.loadWebhooks();
    } catch (error) {
      // Searching needs no saved searches; a key may not be allowed to see them.
      if (!signal.aborted) this.draw();
      void error;
    }
  }

  async loadWebhooks() {
    const { api, signal } = this.context;
    this.webhooks.clear();
    const { webhooks } = await api.json("/v1/webhooks", { signal });
    for (const webhook of /** @type {Webhook[]} */ (webhooks)) {
      if (webhook.search) this.webhooks.set(webhook.search, webhook);
    }
    this.draw();
  }

  /**
   * Mark the search that is being looked at.
   * @param {Search} search
   */
  show(search) {
    this.present = search;
    this.draw();
  }

  draw() {
    const present = this.present ? filterText(savedFilter(this.present)) : "";
    fill(this.list, ...this.saved.map((one) => this.line(one, filterText(one.filter) === present)));
    this.none.hidden = this.saved.length > 0;
  }

  /**
   * @param {SavedSearch} saved
   * @param {boolean} current
   */
  line(saved, current) {
    const webhook = this.webhooks.get(saved.id);
    return el(
      "li",
      { class: "saved-line", "data-current": current },
      el(
        "a",
        {
          class: "saved-open",
          href: searchAddress(searchOfFilter(saved.filter)),
          "aria-current": current ? "true" : null,
          title: saved.name,
        },
        icon("bookmark"),
        el("span", {}, saved.name),
      ),
      this.bell(saved, webhook),
      el(
        "button",
        {
          type: "button",
          class: "button quiet square small",
          "aria-label": `Change ${saved.name}`,
          title: "Rename or delete",
          onclick: () => this.change(saved),
        },
        icon("pencil"),
      ),
    );
  }

  /**
   * @param {SavedSearch} saved
   * @param {Webhook | undefined} webhook
   */
  bell(saved, webhook) {
    const state = bellState(webhook);
    return el(
      "button",
      {
        type: "button",
        class: `button quiet square small bell ${state.kind}`,
        "aria-label": `${state.text}: ${saved.name}`,
        title: state.text,
        onclick: () =>
          openNotify(this.context, saved, webhook, () => {
            this.loadWebhooks().catch(() => undefined);
          }),
      },
      icon(state.kind === "failing" ? "warning" : "bell"),
    );
  }

  /**
   * Ask for a name and keep a search.
   * @param {Search} search
   * @param {string} proposal a name for it.
   */
  save(search, proposal) {
    const relative = search.within !== "";
    this.askName({
      title: "Save this search",
      name: proposal,
      action: "Save",
      hint: relative ? "Saved without its time range, which ends now and would be another tomorrow." : "",
      onName: async (name) => {
        const { api } = this.context;
        const body = { name, filter: savedFilter(search) };
        const saved = await api.json("/v1/searches", { method: "POST", body });
        this.saved = [...this.saved, saved].sort((one, other) => one.name.localeCompare(other.name));
        this.draw();
        this.context.toast(`“${saved.name}” is saved.`);
      },
    });
  }

  /** @param {SavedSearch} saved */
  change(saved) {
    const path = `/v1/searches/${encodeURIComponent(saved.id)}`;
    const remove = el(
      "button",
      {
        type: "button",
        class: "button quiet push-left",
        onclick: async () => {
          dialog.close();
          await this.remove(saved, path);
        },
      },
      icon("trash"),
      "Delete",
    );
    const dialog = this.askName({
      title: "Saved search",
      name: saved.name,
      action: "Rename",
      hint: "",
      aside: remove,
      onName: async (name) => {
        const renamed = await this.context.api.json(path, { method: "PATCH", body: { name } });
        this.saved = this.saved.map((one) => (one.id === saved.id ? renamed : one));
        this.draw();
      },
    });
  }

  /**
   * @param {SavedSearch} saved
   * @param {string} path
   */
  async remove(saved, path) {
    const told = this.webhooks.has(saved.id);
    const agreed = await confirmDialog(
      {
        title: "Delete this saved search?",
        body: [
          el("p", {}, `“${saved.name}” is forgotten. The clips that it finds stay.`),
          told && el("p", {}, "Its webhook goes with it: nobody is told any more."),
        ],
        confirm: "Delete",
      },
      this.context.signal,
    );
    if (!agreed) return;
    try {
      await this.context.api.json(path, { method: "DELETE" });
    } catch (error) {
      if (/** @type {{status?: number}} */ (error).status !== NOT_FOUND) {
        this.onError("The search could not be deleted.", error);
        return;
      }
    }
    this.saved = this.saved.filter((one) => one.id !== saved.id);
    this.draw();
    this.context.toast(`“${saved.name}” is deleted.`);
  }

  /**
   * @param {object} question
   * @param {string} question.title
   * @param {string} question.name
   * @param {string} question.action
   * @param {string} question.hint
   * @param {HTMLElement} [question.aside]
   * @param {(name: string) => Promise<void>} question.onName
   */
  askName({ title, name, action, hint, aside, onName }) {
    const id = freshId("name");
    const input = el("input", {
      id,
      class: "input",
      type: "text",
      required: true,
      maxlength: MAX_NAME_LENGTH,
      autocomplete: "off",
      value: name,
    });
    const problem = el("p", { class: "form-problem", role: "alert" });
    const go = el("button", { type: "submit", class: "button primary", form: `${id}-form` }, action);
    const form = el(
      "form",
      {
        id: `${id}-form`,
        class: "field",
        onsubmit: async (/** @type {Event} */ event) => {
          event.preventDefault();
          go.disabled = true;
          try {
            await onName(input.value.trim());
            dialog.close();
          } catch (error) {
            problem.textContent = error instanceof Error ? error.message : "That did not work.";
          }
          go.disabled = false;
        },
      },
      el("label", { for: id }, "Name"),
      input,
      hint && el("p", { class: "hint" }, hint),
      problem,
    );
    const dialog = openDialog(
      { title, className: "narrow", body: [form], actions: [aside, go] },
      this.context.signal,
    );
    input.select();
    return dialog;
  }
}

/**
 * @param {Webhook | undefined} webhook
 * @returns {{kind: string, text: string}}
 */
function bellState(webhook) {
  if (!webhook) return { kind: "", text: "Tell me" };
  if (!webhook.enabled) return { kind: "failing", text: "Switched off" };
  if (webhook.failing_since) return { kind: "failing", text: "Failing" };
  return { kind: "told", text: "Telling" };
}

/**
 * Write a filter so that equal ones are written alike.
 * @param {Record<string, unknown>} filter
 */
function filterText(filter) {
  const query = [...new URLSearchParams(searchAddress(searchOfFilter(filter)).split("?")[1])];
  return JSON.stringify(query.sort((one, other) => (one.join("=") < other.join("=") ? -1 : 1)));
}
