'use strict';

// What the service gives page by page.

const { backoffMs, checkedNumber, pause } = require('./transport.js');

// Shorter than `limits` of proxies usually are.
const FEED_WAIT_MS = 25_000;

/** A list: awaited, it is its first page as the service sent it; iterated, it is every item of all pages. */
class Pages {
  #read;
  #items;
  #after;

  /** `read(cursor)` gives a page, `after(page)` the cursor of the next one, or null. */
  constructor(read, items, after) {
    this.#read = read;
    this.#items = items;
    this.#after = after;
  }

  then(resolve, reject) {
    return this.#read(null).then(resolve, reject);
  }

  catch(reject) {
    return this.then(undefined, reject);
  }

  finally(task) {
    return this.#read(null).finally(task);
  }

  async *[Symbol.asyncIterator]() {
    let cursor = null;
    do {
      const page = await this.#read(cursor);
      yield* page[this.#items];
      cursor = this.#after(page);
    } while (cursor !== null);
  }
}

/** Pages of the feed. One without entries is given only when its cursor is a new one, such as that of `after: 'latest'`. */
async function* feed(call, { after, limit, wait_ms = FEED_WAIT_MS, follow = true, maxRetries = Infinity, ...request } = {}) {
  const waitMs = follow ? checkedNumber('wait_ms', wait_ms, 1) : 0;
  for (let cursor = after; ;) {
    const askedAtMs = performance.now();
    const query = { after: cursor, limit, wait_ms: waitMs };
    const page = await call('GET', '/internal/v1/feed', { ...request, maxRetries, query, waitMs });
    const isNew = page.entries.length > 0 || page.next !== cursor;
    cursor = page.next;
    if (isNew) yield page;
    if (page.entries.length > 0) continue;
    if (!follow) return;
    // A service that stops answers without waiting, as often as it is asked.
    if (performance.now() - askedAtMs < waitMs / 2) await pause(backoffMs(1), request.signal, false);
  }
}

module.exports = { Pages, feed };
