/**
 * Files that were chosen or dropped, folders opened; and what their names tell.
 */

const VIDEO_ENDINGS = new Set(
  "3gp asf avi dav divx flv h264 h265 hevc m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv y4m".split(" "),
);
const MAX_FILES = 2000;
const MAX_DEPTH = 12;

/**
 * @typedef {object} Found
 * @property {File[]} files
 * @property {number} leftOut files of folders that are no videos
 */

/**
 * Whether a file looks like a video, by its type or ending; the service looks inside.
 * @param {File} file
 */
export function looksLikeVideo(file) {
  const ending = file.name.split(".").at(-1)?.toLowerCase() ?? "";
  return file.type.startsWith("video/") || VIDEO_ENDINGS.has(ending);
}

/**
 * Find the files of a drop; folders are opened. To be called in the event itself.
 * @param {DataTransfer} transfer
 * @returns {Promise<Found>}
 */
export async function filesOfDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const loose = [...transfer.files];
  if (entries.every((entry) => entry === null || entry.isFile)) return { files: loose, leftOut: 0 };
  /** @type {Found} */
  const found = { files: [], leftOut: 0 };
  for (const entry of entries) {
    if (entry !== null) await collect(entry, found, 0);
  }
  return found;
}

/**
 * Keep the videos of a folder that was chosen.
 * @param {Iterable<File>} files
 * @returns {Found}
 */
export function filesOfFolder(files) {
  const all = [...files];
  const videos = all.filter(looksLikeVideo).slice(0, MAX_FILES);
  return { files: videos, leftOut: all.length - videos.length };
}

/**
 * @param {FileSystemEntry} entry
 * @param {Found} found
 * @param {number} depth
 */
async function collect(entry, found, depth) {
  if (entry.isFile) {
    const file = await fileOf(/** @type {FileSystemFileEntry} */ (entry));
    const taken = file !== null && (depth === 0 || looksLikeVideo(file)) && found.files.length < MAX_FILES;
    if (taken) found.files.push(file);
    else found.leftOut += 1;
    return;
  }
  if (depth >= MAX_DEPTH) return;
  for (const child of await childrenOf(/** @type {FileSystemDirectoryEntry} */ (entry))) {
    await collect(child, found, depth + 1);
  }
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File | null>}
 */
function fileOf(entry) {
  return new Promise((resolve) => entry.file(resolve, () => resolve(null)));
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @returns {Promise<FileSystemEntry[]>}
 */
async function childrenOf(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const all = [];
  for (;;) {
    // A reader hands out a hundred at a time, and an empty list at the end.
    const some = await new Promise((/** @type {(entries: FileSystemEntry[]) => void} */ resolve) =>
      reader.readEntries(resolve, () => resolve([])),
    );
    if (some.length === 0 || all.length > MAX_FILES) return all;
    all.push(...some);
  }
}

const MOMENT = /(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])[-_. T]{0,2}([01]\d|2[0-3])[-_.:h]?([0-5]\d)(?:[-_.:m]?([0-5]\d))?(?!\d{3})/;

/**
 * Read the moment that recorders write into names, like "cam3_2026-03-01_09-00-00.mp4", as one of
 * the reader's time zone.
 * @param {string} name
 * @returns {Date | null}
 */
export function momentOfName(name) {
  const found = MOMENT.exec(name);
  if (found === null) return null;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = found.slice(1).map((part) => Number(part ?? 0));
  const moment = new Date(year, month - 1, day, hour, minute, second);
  // The 31st of February is no moment.
  return moment.getDate() === day ? moment : null;
}

/**
 * Write a moment for an `<input type="datetime-local">`.
 * @param {Date} moment
 */
export function localText(moment) {
  const shifted = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}
