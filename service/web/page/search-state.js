/**
 * What is searched for: as a value, as the page's address, and as the query of the API.
 *
 * The address uses the API's own names, so that a search can be shared, kept as a bookmark and
 * turned into a request by hand. Nothing here knows the document.
 */

/**
 * @typedef {object} Search
 * @property {string[]} labels any of these; empty for all.
 * @property {string[]} cameras any of these; empty for all.
 * @property {string[]} tags any of these; empty for all.
 * @property {number} minScore in 0..1; 0 for all.
 * @property {number} maxScore in 0..1; 1 for all.
 * @property {string} within one of WITHIN, a range that ends now; "" for none.
 * @property {string} since RFC 3339; "" for none.
 * @property {string} until RFC 3339; "" for none.
 * @property {number | null} minDuration in seconds.
 * @property {number | null} maxDuration in seconds.
 * @property {string} job only segments of this job; "" for all.
 * @property {string} video only segments of this video; "" for all.
 * @property {"time" | "score"} order newest first, or surest first.
 * @property {"wall" | "table"} view how results are shown.
 */

/** @typedef {"labels" | "cameras" | "tags"} Choice a filter of which several values are taken. */

/** Ranges that end now, by their name in the address. */
export const WITHIN = Object.freeze({
  "1h": { seconds: 3600, text: "Last hour", short: "1 h" },
  "24h": { seconds: 24 * 3600, text: "Last 24 hours", short: "24 h" },
  "7d": { seconds: 7 * 24 * 3600, text: "Last 7 days", short: "7 d" },
  "30d": { seconds: 30 * 24 * 3600, text: "Last 30 days", short: "30 d" },
});

/** The names of choices in addresses and queries. */
const PARAMETER = Object.freeze({ labels: "label", cameras: "camera", tags: "tag" });

export const CHOICES = /** @type {readonly Choice[]} */ (Object.freeze(Object.keys(PARAMETER)));

/** A search for everything. @type {Readonly<Search>} */
export const EVERYTHING = Object.freeze({
  labels: [],
  cameras: [],
  tags: [],
  minScore: 0,
  maxScore: 1,
  within: "",
  since: "",
  until: "",
  minDuration: null,
  maxDuration: null,
  job: "",
  video: "",
  order: "time",
  view: "wall",
});

/** Addresses come from anywhere: no more values of one kind than the API takes. */
const MAX_VALUES = 100;

const MINUTE_MILLISECONDS = 60_000;

/**
 * Read a search from the query of an address; whatever makes no sense there is left out.
 * @param {URLSearchParams} query
 * @returns {Search}
 */
export function readSearch(query) {
  const since = readMoment(query.get("since"));
  const until = readMoment(query.get("until"));
  const within = query.get("within") ?? "";
  return inOrder({
    labels: readValues(query, "label"),
    cameras: readValues(query, "camera"),
    tags: readValues(query, "tag"),
    minScore: readNumber(query.get("min_score"), 0, 1) ?? 0,
    maxScore: readNumber(query.get("max_score"), 0, 1) ?? 1,
    within: Object.hasOwn(WITHIN, within) && !since && !until ? within : "",
    since,
    until,
    minDuration: readNumber(query.get("min_duration"), 0, Number.MAX_VALUE),
    maxDuration: readNumber(query.get("max_duration"), 0, Number.MAX_VALUE),
    job: query.get("job") ?? "",
    video: query.get("video") ?? "",
    order: query.get("order") === "score" ? "score" : "time",
    view: query.get("view") === "table" ? "table" : "wall",
  });
}

/**
 * Return a search whose ranges begin before they end: who mixed them up means the same.
 * @param {Search} search
 * @returns {Search}
 */
function inOrder(search) {
  const { minScore, maxScore, minDuration, maxDuration, since, until } = search;
  const ordered = { ...search };
  if (minScore > maxScore) [ordered.minScore, ordered.maxScore] = [maxScore, minScore];
  if (minDuration !== null && maxDuration !== null && minDuration > maxDuration) {
    [ordered.minDuration, ordered.maxDuration] = [maxDuration, minDuration];
  }
  if (since && until && since >= until) [ordered.since, ordered.until] = [until, minuteAfter(since)];
  return ordered;
}

/**
 * Inputs go by the minute, and a range ends before its last moment: the minute named is in it.
 * @param {string} moment
 */
function minuteAfter(moment) {
  return new Date(Date.parse(moment) + MINUTE_MILLISECONDS).toISOString();
}

/**
 * Write a search as the query of an address: only what differs from a search for everything.
 * @param {Search} search
 * @returns {URLSearchParams}
 */
export function writeSearch(search) {
  const query = filterQuery(search);
  if (search.within) query.set("within", search.within);
  if (search.order !== EVERYTHING.order) query.set("order", search.order);
  if (search.view !== EVERYTHING.view) query.set("view", search.view);
  return query;
}

/**
 * Return the address of a search on the page.
 * @param {Search} search
 */
export function searchAddress(search) {
  const query = writeSearch(search).toString();
  return query ? `#/search?${query}` : "#/search";
}

/**
 * Return a search as parameters of `GET /v1/segments`.
 * @param {Search} search
 * @param {Date} now that a range like "the last hour" ends at.
 * @returns {URLSearchParams}
 */
export function apiQuery(search, now) {
  const query = filterQuery(inOrder(search));
  const range = WITHIN[/** @type {keyof typeof WITHIN} */ (search.within)];
  if (range) query.set("since", new Date(now.getTime() - range.seconds * 1000).toISOString());
  return query;
}

/**
 * Return a search as the filter of a saved one: its parameters, each choice as a list.
 *
 * A range that ends now is left out: kept as a moment it would be another search tomorrow.
 * @param {Search} search
 * @returns {Record<string, unknown>}
 */
export function savedFilter(search) {
  /** @type {Record<string, unknown>} */
  const filter = {};
  for (const choice of CHOICES) {
    if (search[choice].length > 0) filter[PARAMETER[choice]] = [...search[choice]];
  }
  const { minScore, maxScore, minDuration, maxDuration, since, until, job, video } = search;
  if (minScore > 0) filter["min_score"] = minScore;
  if (maxScore < 1) filter["max_score"] = maxScore;
  if (minDuration !== null) filter["min_duration"] = minDuration;
  if (maxDuration !== null) filter["max_duration"] = maxDuration;
  for (const [name, value] of Object.entries({ since, until, job, video })) {
    if (value) filter[name] = value;
  }
  return filter;
}

/**
 * Return the search that a saved filter stands for.
 * @param {Record<string, unknown>} filter as `savedFilter` makes them; null is as good as absent.
 * @returns {Search}
 */
export function searchOfFilter(filter) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    if (Array.isArray(value)) for (const one of value) query.append(name, String(one));
    else if (value !== null && value !== undefined) query.set(name, String(value));
  }
  return readSearch(query);
}

/**
 * @typedef {object} Restriction one thing that narrows a search down.
 * @property {string} kind what it is about, in words.
 * @property {string} value what of it, in words; may come from strangers.
 * @property {Search} without the search without it.
 */

/**
 * List what narrows a search down, each with the search that is left without it.
 * @param {Search} search
 * @param {(moment: string) => string} showMoment writes an RFC 3339 moment for people.
 * @returns {Restriction[]}
 */
export function restrictions(search, showMoment) {
  /** @type {Restriction[]} */
  const found = [];
  for (const choice of CHOICES) {
    for (const value of search[choice]) {
      const rest = search[choice].filter((one) => one !== value);
      found.push({ kind: PARAMETER[choice], value, without: { ...search, [choice]: rest } });
    }
  }
  if (search.minScore > 0) {
    found.push({
      kind: "score",
      value: `from ${search.minScore.toFixed(2)}`,
      without: { ...search, minScore: 0 },
    });
  }
  if (search.maxScore < 1) {
    found.push({
      kind: "score",
      value: `up to ${search.maxScore.toFixed(2)}`,
      without: { ...search, maxScore: 1 },
    });
  }
  const time = timeInWords(search, showMoment);
  if (time) {
    found.push({
      kind: "time",
      value: time,
      without: { ...search, within: "", since: "", until: "" },
    });
  }
  const duration = durationInWords(search);
  if (duration) {
    found.push({
      kind: "duration",
      value: duration,
      without: { ...search, minDuration: null, maxDuration: null },
    });
  }
  if (search.job) found.push({ kind: "job", value: search.job, without: { ...search, job: "" } });
  if (search.video) {
    found.push({ kind: "video", value: search.video, without: { ...search, video: "" } });
  }
  return found;
}

/** @param {Search} search */
function durationInWords({ minDuration, maxDuration }) {
  if (minDuration !== null && maxDuration !== null) return `${minDuration} to ${maxDuration} s`;
  if (minDuration !== null) return `from ${minDuration} s`;
  return maxDuration === null ? "" : `up to ${maxDuration} s`;
}

/**
 * @param {Search} search
 * @param {(moment: string) => string} showMoment
 */
function timeInWords({ within, since, until }, showMoment) {
  const range = WITHIN[/** @type {keyof typeof WITHIN} */ (within)];
  if (range) return range.text.toLowerCase();
  if (since && until) return `${showMoment(since)} to ${showMoment(until)}`;
  if (since) return `since ${showMoment(since)}`;
  return until ? `before ${showMoment(until)}` : "";
}

/** @param {Search} search */
function filterQuery(search) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(savedFilter(search))) {
    for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
  }
  return query;
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 */
function readValues(query, name) {
  const values = query.getAll(name).filter((value) => value !== "");
  return [...new Set(values)].slice(0, MAX_VALUES);
}

/**
 * @param {string | null} text
 * @param {number} least
 * @param {number} most
 */
function readNumber(text, least, most) {
  if (text === null || text.trim() === "") return null;
  const value = Number(text);
  return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : null;
}

/** @param {string | null} text */
function readMoment(text) {
  const moment = new Date(text ?? "");
  return Number.isNaN(moment.getTime()) ? "" : moment.toISOString();
}
