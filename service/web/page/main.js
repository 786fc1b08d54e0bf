/**
 * The page `/`: its shell, and which view is in it.
 */

import { Api, ApiError } from "../timeline/api.js";
import { Announcer } from "./announcer.js";
import { el, fill } from "./dom.js";
import { LiveFeed } from "./live.js";
import { mountLogin } from "./login.js";
import { mountNowhere } from "./nowhere.js";
import { Router } from "./router.js";
import { Session } from "./session.js";
import { ShellSide } from "./shell.js";
import { PageTheme } from "./theme.js";
import { UploadQueue } from "./uploads.js";

/** @typedef {import("./context.js").PageContext} PageContext */
/** @typedef {import("./context.js").Route} Route */
/** @typedef {(root: HTMLElement, context: PageContext) => void} Mount */

const UNAUTHORIZED = 401;
const PRODUCT = "Kinetag";

/** Views come when they are gone to: the list need not wait for the player. */
const VIEWS = /** @type {Record<string, (page: Page) => Promise<Mount>>} */ ({
  "": async (page) => {
    const { mountVideos } = await import("./videos.js");
    return (root, context) => mountVideos(root, context, page.uploads);
  },
  jobs: async () => (await import("./player.js")).mountPlayer,
  search: async () => (await import("./search.js")).mountSearch,
});

/** Tells the session whenever the service refuses the key. */
class PageApi extends Api {
  /** @type {() => void} */
  onRefused = () => {};

  /**
   * @param {string} path
   * @param {import("../timeline/api.js").RequestOptions} [options]
   */
  async request(path, options) {
    try {
      return await super.request(path, options);
    } catch (error) {
      if (error instanceof ApiError && error.status === UNAUTHORIZED) this.onRefused();
      throw error;
    }
  }
}

/** All that lives as long as the page does. */
class Page {
  #main = /** @type {HTMLElement} */ (document.getElementById("main"));
  #leave = new AbortController();
  /** @type {Route | null} */
  #route = null;
  /** @type {Set<(query: URLSearchParams) => void>} */
  #queryListeners = new Set();
  /** @type {Promise<import("./context.js").Model[]> | null} */
  #models = null;
  #locked = false;

  constructor() {
    this.announcer = new Announcer();
    this.theme = new PageTheme();
    this.session = new Session();
    this.api = new PageApi({ credentials: this.session.credentials });
    this.api.onRefused = () => this.#refused();
    this.side = new ShellSide(this.theme, () => this.logOut());
    this.live = new LiveFeed(this.api, (connection) => this.side.showConnection(connection));
    this.uploads = new UploadQueue(this.api, this.session.credentials);
    this.router = new Router((route) => this.#show(route));
    document.getElementById("skip")?.addEventListener("click", () => this.#focusMain());
  }

  start() {
    this.side.showKey(this.session.key !== null);
    this.live.start();
    this.router.start();
  }

  /** Forget the key and everything that was seen with it. */
  logOut() {
    this.session.forget();
    this.uploads.forgetAll();
    this.live.stop();
    // A fresh page: nothing of what the key opened stays in memory.
    location.assign("/");
  }

  #focusMain() {
    const heading = this.#main.querySelector("h1");
    focusQuietly(heading ?? this.#main);
  }

  /** @param {Route} route */
  #show(route) {
    const before = this.#route;
    this.#route = route;
    this.side.showView(route.view);
    if (this.#locked) return;
    if (before !== null && before.view === route.view && before.rest === route.rest) {
      for (const listener of this.#queryListeners) listener(new URLSearchParams(route.query));
      return;
    }
    this.#mount(route, before !== null);
  }

  /**
   * @param {Route} route
   * @param {boolean} moved from another view, so that the focus has to follow
   */
  async #mount(route, moved) {
    this.#leave.abort();
    this.#leave = new AbortController();
    this.#queryListeners = new Set();
    const { signal } = this.#leave;
    const root = el("div", { class: "waiting" });
    fill(this.#main, root);
    const mount = await this.#view(route);
    if (signal.aborted) return;
    root.className = "";
    mount(root, this.#context(route, signal));
    if (moved) {
      window.scrollTo(0, 0);
      this.#focusMain();
      this.announcer.say(document.title);
    }
  }

  /**
   * @param {Route} route
   * @returns {Promise<Mount>}
   */
  async #view(route) {
    const load = Object.hasOwn(VIEWS, route.view) ? VIEWS[route.view] : undefined;
    if (load === undefined) return (root, context) => mountNowhere(root, context);
    try {
      return await load(this);
    } catch (error) {
      console.warn("A part of the page could not be loaded.", error);
      return (root, context) => mountNowhere(root, context, "unreachable");
    }
  }

  /**
   * @param {Route} route
   * @param {AbortSignal} signal
   * @returns {PageContext}
   */
  #context(route, signal) {
    const listeners = this.#queryListeners;
    return {
      api: this.api,
      credentials: this.session.credentials,
      navigate: (hash, options) => this.router.navigate(hash, options),
      route,
      onQuery: (listener) => listeners.add(listener),
      announce: (text, options) => this.announcer.say(text, options),
      toast: (text) => this.announcer.toast(text),
      setTitle: (text) => {
        document.title = text === "" ? PRODUCT : `${text} · ${PRODUCT}`;
      },
      models: () => this.#installed(),
      theme: this.theme,
      live: this.live,
      signal,
    };
  }

  #installed() {
    this.#models ??= this.api.json("/v1/models").then(
      (answer) => answer.models,
      (error) => {
        this.#models = null;
        throw error;
      },
    );
    return this.#models;
  }

  /** The service wants a key, or not this one any longer. */
  #refused() {
    if (this.#locked) return;
    this.#locked = true;
    const known = this.session.key !== null;
    this.session.forget();
    this.#models = null;
    this.live.stop();
    this.side.showKey(false);
    this.#leave.abort();
    this.#leave = new AbortController();
    const root = el("div");
    fill(this.#main, root);
    document.title = `Log in · ${PRODUCT}`;
    mountLogin(root, {
      session: this.session,
      revoked: known,
      onEntered: () => this.#entered(),
    });
    this.announcer.say(known ? "The API key does not hold any longer." : "An API key is needed.");
  }

  #entered() {
    this.#locked = false;
    this.side.showKey(true);
    this.live.start();
    this.uploads.wake();
    const route = this.#route;
    if (route !== null) this.#mount(route, true);
  }
}

/** @param {HTMLElement} target */
function focusQuietly(target) {
  if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
  target.focus({ preventScroll: true });
}

new Page().start();
