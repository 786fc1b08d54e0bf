/**
 * The right side of the header: connection, theme, log out; and which view is marked.
 */

import { el, fill, say } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {import("./live.js").Connection} Connection */
/** @typedef {import("./theme.js").PageTheme} PageTheme */

/** @type {Record<Connection, string>} */
const CONNECTIONS = {
  off: "Not connected",
  connecting: "Connecting…",
  live: "Live",
  lost: "Reconnecting…",
};

const THEMES = {
  auto: { icon: "auto", words: "as the system" },
  light: { icon: "sun", words: "light" },
  dark: { icon: "moon", words: "dark" },
};

/** Fills the header's right side. */
export class ShellSide {
  #words = el("span", {}, CONNECTIONS.connecting);
  #connection = el("span", { class: "connection", "data-state": "connecting" }, this.#words);
  #logOut;
  #themeButton;

  /**
   * @param {PageTheme} theme
   * @param {() => void} onLogOut
   */
  constructor(theme, onLogOut) {
    this.theme = theme;
    this.#themeButton = el("button", {
      type: "button",
      class: "button quiet square",
      onclick: () => theme.choose(theme.following),
    });
    this.#logOut = el(
      "button",
      { type: "button", class: "button quiet square", "aria-label": "Log out", title: "Log out", hidden: true, onclick: onLogOut },
      icon("out"),
    );
    theme.onChange(() => this.#showTheme(), new AbortController().signal);
    this.#showTheme();
    document.getElementById("side")?.append(this.#connection, this.#themeButton, this.#logOut);
  }

  /** @param {Connection} connection */
  showConnection(connection) {
    this.#connection.dataset.state = connection;
    this.#connection.title = connection === "live" ? "The page follows the service" : "";
    say(this.#words, CONNECTIONS[connection]);
  }

  /** @param {boolean} present */
  showKey(present) {
    this.#logOut.hidden = !present;
  }

  /** @param {string} view */
  showView(view) {
    const marked = view === "jobs" ? "" : view;
    for (const link of document.querySelectorAll(".nav a")) {
      if (link.getAttribute("data-view") === marked) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  #showTheme() {
    const shown = THEMES[this.theme.choice];
    fill(this.#themeButton, icon(shown.icon));
    this.#themeButton.setAttribute("aria-label", `Colours: ${shown.words}`);
    this.#themeButton.title = `Colours: ${shown.words}`;
  }
}
