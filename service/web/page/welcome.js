/**
 * What is seen before there is any video: what to do, and what to expect.
 */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {import("./context.js").Model} Model */
/** @typedef {import("./context.js").PageContext} PageContext */

const STEPS = [
  ["upload", "Add a video", "Any length, as it comes from the camera. A broken line loses nothing: uploads go on where they stopped."],
  ["clock", "Watch it work", "Motion is measured and actions are found. The list follows live, with the time that is left."],
  ["film", "Look at its timeline", "Every action with its start, end and score, and the evidence behind it. Move one slider and it is cut anew."],
];

/** @param {PageContext} context */
export function welcome(context) {
  const honest = el("div", { class: "welcome-model" });
  void tellOfModel(context, honest);
  return el(
    "section",
    { class: "welcome", "aria-label": "How it begins", hidden: true },
    el(
      "ol",
      { class: "steps" },
      STEPS.map(([shape = "", title = "", words = ""]) => el("li", {}, el("span", { class: "step-mark" }, icon(shape)), el("h2", {}, title), el("p", {}, words))),
    ),
    honest,
  );
}

/**
 * @param {PageContext} context
 * @param {HTMLElement} place
 */
async function tellOfModel(context, place) {
  /** @type {Model[]} */
  let models;
  try {
    models = await context.models();
  } catch {
    // The list says what is wrong; here it is one hint less.
    return;
  }
  const model = models.find((one) => one.default);
  const demo = model?.warnings.find((one) => one.code === "demo_model");
  if (model === undefined || demo === undefined) return;
  fill(
    place,
    el(
      "div",
      { class: "banner warn" },
      icon("warning"),
      el(
        "div",
        { class: "grow" },
        el("p", {}, el("strong", {}, "Only a demonstration model is installed. "), `It knows ${model.classes.length} actions of drawn figures (`, el("bdi", {}, model.classes.map(spaced).join(", ")), ") and says nothing about real footage."),
        el("p", {}, "For your own actions, train a model from tagged videos, or import one: ", el("code", {}, "kinetag train"), ", ", el("code", {}, "kinetag models import"), "."),
      ),
    ),
  );
}

/** @param {string} label */
function spaced(label) {
  return label.replaceAll("_", " ");
}
