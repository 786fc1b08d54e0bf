/** Addresses of videos' bytes that a <video> can load, each asked for once while it holds. */

/** A ticket this close to its end is not used any more. */
const SPARE_SECONDS = 60;

/** @typedef {{url: string, expires_at: string}} Ticket */

/** Tickets of one view. */
export class Tickets {
  /** @param {(videoId: string) => Promise<Ticket>} ask asks the service for a new one. */
  constructor(ask) {
    this.ask = ask;
    /** @type {Map<string, Promise<Ticket>>} */
    this.held = new Map();
  }

  /**
   * Return an address of a video's bytes.
   * @param {string} videoId
   * @returns {Promise<string>}
   */
  async url(videoId) {
    const held = await this.held.get(videoId)?.catch(() => undefined);
    const restSeconds = held ? (Date.parse(held.expires_at) - Date.now()) / 1000 : 0;
    if (held && restSeconds > SPARE_SECONDS) return held.url;
    const asked = this.ask(videoId);
    this.held.set(videoId, asked);
    asked.catch(() => this.forget(videoId));
    return (await asked).url;
  }

  /**
   * Ask anew next time: the ticket was refused, say because the service began to sign anew.
   * @param {string} videoId
   */
  forget(videoId) {
    this.held.delete(videoId);
  }
}
