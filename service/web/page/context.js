/**
 * What every view of the page is given. Views are modules that export a mount function:
 *
 *     export function mountSearch(root, context) { … }
 *
 * A view fills `root`, which is empty, and stops all it has begun when `context.signal` fires:
 * hand the signal to requests and to addEventListener. Its first heading is an h1, which the page
 * focuses when the view was navigated to. No cleanup is returned; there is none beside the signal.
 *
 * Names, labels, tags, cameras are text of strangers: they reach the page by textContent alone,
 * best through `el` of dom.js.
 */

/** @typedef {import("../timeline/api.js").Api} Api */
/** @typedef {import("../timeline/events.js").ServerEvent} ServerEvent */

/**
 * A model that jobs can name, as GET /v1/models tells of it.
 * @typedef {object} Model
 * @property {string} id NAME@VERSION
 * @property {string} name
 * @property {string} version
 * @property {string} method
 * @property {string[]} classes
 * @property {string[]} speeds its own first
 * @property {string} licence
 * @property {Record<string, any>} metrics
 * @property {{code: string, message: string, seconds: number | null}[]} warnings
 * @property {boolean} default
 */

/**
 * A job, as GET /v1/jobs/{id} tells of it; see docs/jobs.md.
 * @typedef {object} Job
 * @property {string} id
 * @property {"queued" | "processing" | "succeeded" | "failed" | "canceled"} status
 * @property {string | null} stage
 * @property {number} progress 0 to 1
 * @property {number | null} eta_seconds
 * @property {boolean} cancel_requested
 * @property {JobVideo} video
 * @property {string} model NAME@VERSION[:SPEED]
 * @property {string[] | null} labels
 * @property {string | null} tag
 * @property {string | null} camera
 * @property {string | null} recorded_at
 * @property {string | null} batch_id
 * @property {string | null} retry_of
 * @property {{code: string, message: string} | null} error
 * @property {string} created_at
 * @property {string | null} started_at
 * @property {string | null} completed_at
 * @property {{queue_seconds: number | null, run_seconds: number | null} | null} metrics
 * @property {Record<string, string | null>} links
 */

/**
 * @typedef {object} JobVideo
 * @property {string} id
 * @property {string} name
 * @property {number | null} size_bytes
 * @property {number | null} duration seconds
 * @property {number | null} nominal_fps
 * @property {boolean | null} vfr
 * @property {number | null} width
 * @property {number | null} height
 */

/**
 * Where the page is: `#/jobs/job_1?at=3` is view "jobs", rest "job_1", query "at=3".
 * @typedef {object} Route
 * @property {string} view "" for the list of videos, "jobs", "search"
 * @property {string} rest what follows the view in the path
 * @property {URLSearchParams} query a copy; change it and navigate
 */

/**
 * @typedef {object} PageContext
 * @property {Api} api with the key of whoever is logged in; every request goes through it. An
 *   answer 401 shows the login by itself; views need only let the error end what they do.
 * @property {() => string | null} credentials for `<kinetag-timeline>.credentials`
 * @property {(hash: string, options?: {replace?: boolean}) => void} navigate to "#/search?label=fall".
 *   `replace` leaves no entry in the history: for filters that change while somebody types.
 *   Within one view only `onQuery` is called; the view is not mounted anew.
 * @property {Route} route when the view was mounted
 * @property {(listener: (query: URLSearchParams) => void) => void} onQuery is called when the query
 *   of this view's address changes (Back, a link, navigate), until the view ends
 * @property {(text: string, options?: {urgent?: boolean}) => void} announce in a live region, for
 *   readers of the screen; nothing is seen of it
 * @property {(text: string) => void} toast a sentence that is seen for some seconds, and announced
 * @property {(text: string) => void} setTitle of the document, before the product's name
 * @property {() => Promise<Model[]>} models the installed ones, asked for once
 * @property {Theme} theme
 * @property {Live} live what happens to jobs, by one event stream for the whole page
 * @property {AbortSignal} signal fires when the view is left
 */

/**
 * @typedef {object} Theme
 * @property {"auto" | "light" | "dark"} choice
 * @property {"light" | "dark"} shown what is seen now; also `data-theme` of the html element
 * @property {(listener: () => void, signal: AbortSignal) => void} onChange
 */

/**
 * @typedef {object} Live
 * @property {(listener: (event: ServerEvent) => void, signal: AbortSignal) => void} onEvent every
 *   event of /v1/events, "progress" among them
 * @property {(listener: () => void, signal: AbortSignal) => void} onGap after a gap in which events
 *   may have been missed: load again what is shown
 */

export {};
