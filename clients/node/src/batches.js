'use strict';

// `entries.postAll`: any number of entries in batches, several at once. Entries of one user are never in two batches that are on
// their way together, so that each user's entries apply in the caller's order.

const { AbortError, BalanceCoordinatorError, PostAllError, UnexpectedAnswerError } = require('./errors.js');
const { backoffMs, checkedNumber, jsonOf, onAborted, pause } = require('./transport.js');

// Well within `limits.batch_entries` and `limits.batch_body_bytes` of the service.
const ITEMS_MAX = 1_000;
const BYTES_MAX = 1 << 20;
const CONCURRENCY = 4;
// Of an item at which the database failed alone; it was not stored.
const TRANSIENT_ITEM_CODE = 'ledger_unavailable';
const ITEM_RETRIES_MAX = 3;
const FRAME_BYTES = '{"entries":[]}'.length;

class PostAll {
  #call;
  #options;
  #counts = { read: 0, accepted: 0, duplicates: 0, rejected: 0 };
  #rejections = [];
  #unanswered = new Set(); // indexes of what was read
  #running = new Map(); // batches on their way: a promise, and the users
  #failure = null;
  #isUnknown = false;
  #wake = null; // ends the wait for the caller's next entry

  constructor(call, options) {
    const { itemsMax = ITEMS_MAX, bytesMax = BYTES_MAX, concurrency = CONCURRENCY, onProgress, ...request } = options;
    this.#call = call;
    this.#options = {
      itemsMax: checkedNumber('itemsMax', itemsMax, 1),
      bytesMax: checkedNumber('bytesMax', bytesMax, 1),
      concurrency: checkedNumber('concurrency', concurrency, 1),
      onProgress,
      request,
    };
  }

  async run(iterable) {
    const iterator = iterable?.[Symbol.asyncIterator]?.() ?? iterable?.[Symbol.iterator]?.();
    if (typeof iterator?.next !== 'function') throw new TypeError('postAll needs an array or another (async) iterable of entries');
    const { signal } = this.#options.request;
    const unlisten = onAborted(signal, () => this.#fail(new AbortError('postAll was aborted', { code: 'aborted', cause: signal.reason })));
    try {
      await this.#read(iterator);
      await Promise.all(this.#running.keys());
    } finally {
      unlisten();
    }
    const rejections = this.#rejections.sort((a, b) => a.index - b.index);
    const unanswered = [...this.#unanswered].sort((a, b) => a - b);
    const summary = { ...this.#counts, rejections, unanswered };
    if (!this.#failure) return summary;
    const cause = this.#failure;
    const message = `postAll stopped after ${summary.read} entries, ${unanswered.length} of them without an answer: ${cause?.message ?? cause}`;
    const code = cause instanceof BalanceCoordinatorError ? cause.code : 'caller_failed';
    throw new PostAllError(message, { code, outcome: this.#isUnknown ? 'unknown' : 'refused', cause, summary });
  }

  #fail(error) {
    this.#failure ??= error ?? new Error('nothing was thrown');
    this.#wake?.();
  }

  async #read(iterator) {
    let batch = emptyBatch();
    try {
      while (!this.#failure) {
        const step = await this.#next(iterator);
        if (this.#failure || step.done) break;
        const item = this.#item(await step.value);
        if (!item) continue;
        const { itemsMax, bytesMax } = this.#options;
        if (batch.items.length && (batch.items.length >= itemsMax || batch.bytes + item.bytes > bytesMax)) {
          await this.#dispatch(batch);
          batch = emptyBatch();
        }
        batch.items.push(item);
        batch.bytes += item.bytes;
      }
    } catch (error) {
      this.#fail(error); // the caller's iterable has thrown
      return;
    }
    if (batch.items.length) await this.#dispatch(batch);
    // Not awaited: an async generator that still waits for its next entry can't end before that.
    if (this.#failure) Promise.resolve(iterator.return?.()).catch(() => {});
  }

  #next(iterator) {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve({ done: true });
      Promise.resolve(iterator.next()).then(resolve, reject);
    }).finally(() => (this.#wake = null));
  }

  /** An entry with its place and its JSON; null when it has none, and is rejected by that. */
  #item(entry) {
    const index = this.#counts.read;
    this.#counts.read += 1;
    const item = { index, entry, user: entry?.user_id };
    try {
      item.json = jsonOf(entry);
    } catch (error) {
      this.#reject(item, { code: error.code, detail: error.message });
      return null;
    }
    item.bytes = Buffer.byteLength(item.json) + 1;
    this.#unanswered.add(index);
    return item;
  }

  /** Sends a batch as soon as there is room and none of its users has entries on their way. */
  async #dispatch({ items }) {
    const users = new Set(items.map(({ user }) => user));
    const isShared = (others) => items.some(({ user }) => others.has(user));
    while (!this.#failure && (this.#running.size >= this.#options.concurrency || [...this.#running.values()].some(isShared))) {
      await Promise.race(this.#running.keys());
    }
    if (this.#failure) return;
    const task = this.#post(items, 1)
      .catch((error) => {
        this.#isUnknown ||= error.outcome === 'unknown';
        this.#fail(error);
      })
      .finally(() => this.#running.delete(task));
    this.#running.set(task, users);
  }

  async #post(items, round) {
    if (items.length > 1 && (items.length > this.#options.itemsMax || bytesOf(items) > this.#options.bytesMax)) {
      await this.#postHalves(items, round);
      return;
    }
    const body = `{"entries":[${items.map(({ json }) => json).join(',')}]}`;
    let answer;
    try {
      answer = await this.#call('POST', '/internal/v1/batch', { ...this.#options.request, body });
    } catch (error) {
      if (error.status !== 413 && error.code !== 'batch_too_large') throw error;
      await this.#postLess(items, round, error);
      return;
    }
    const again = this.#take(items, answer, round <= ITEM_RETRIES_MAX);
    this.#options.onProgress?.({ ...this.#counts });
    if (!again.length) return;
    await pause(backoffMs(round), this.#options.request.signal, false);
    await this.#post(again, round + 1);
  }

  /** The service takes less than we send: smaller batches from now on. */
  async #postLess(items, round, { code }) {
    if (items.length === 1) {
      this.#answered(items[0]);
      this.#reject(items[0], { code: 'body_too_large' });
      this.#options.onProgress?.({ ...this.#counts });
      return;
    }
    const options = this.#options;
    if (code === 'batch_too_large') options.itemsMax = Math.min(options.itemsMax, Math.ceil(items.length / 2));
    else options.bytesMax = Math.min(options.bytesMax, Math.ceil(bytesOf(items) / 2));
    await this.#postHalves(items, round);
  }

  async #postHalves(items, round) {
    const half = Math.ceil(items.length / 2);
    await this.#post(items.slice(0, half), round);
    await this.#post(items.slice(half), round);
  }

  /** Counts the results. Returns the items that are worth another attempt. */
  #take(items, { results }, isTransientLeft) {
    if (!Array.isArray(results) || results.length !== items.length) {
      const message = `an answer with results for ${results?.length} of ${items.length} entries`;
      throw new UnexpectedAnswerError(message, { code: 'unexpected_answer', outcome: 'unknown' });
    }
    return items.filter((item, place) => {
      const { status, code, field } = results[place];
      if (code === TRANSIENT_ITEM_CODE && isTransientLeft) return true;
      this.#answered(item);
      if (status === 'accepted') this.#counts.accepted += 1;
      else if (status === 'duplicate') this.#counts.duplicates += 1;
      else this.#reject(item, { code, ...(field !== undefined && { field }) });
      return false;
    });
  }

  #answered({ index }) {
    this.#unanswered.delete(index);
  }

  #reject({ index, entry }, why) {
    this.#counts.rejected += 1;
    const event_id = entry?.event_id;
    this.#rejections.push({ index, ...(event_id !== undefined && { event_id }), ...why, entry });
  }
}

const emptyBatch = () => ({ items: [], bytes: FRAME_BYTES });
const bytesOf = (items) => items.reduce((sum, { bytes }) => sum + bytes, FRAME_BYTES);

module.exports = { PostAll };
