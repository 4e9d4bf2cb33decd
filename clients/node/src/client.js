'use strict';

// The calls of a back end, by what they are about. Names of the protocol (`event_id`, `user_id`, …) are as the service has them;
// names of this library (`timeoutMs`, `signal`, …) are camelCase.

const { PostAll } = require('./batches.js');
const { Pages, feed } = require('./pages.js');
const { Transport, jsonOf } = require('./transport.js');

class BalanceCoordinator {
  #transport;
  #call = (method, path, options) => this.#transport.call(method, path, options);

  constructor(options) {
    this.#transport = new Transport(options);
    const post = (path) => async (fields, options) => this.#call('POST', `/internal/v1/${path}`, { ...options, body: jsonOf(fields) });
    this.deposits = Object.freeze({ create: post('deposits') });
    this.rewards = Object.freeze({ create: post('rewards') });
    this.withdrawals = Object.freeze({ create: post('withdrawals'), refund: post('reversals') });
    this.adjustments = Object.freeze({ create: post('adjustments') });
    this.tokens = Object.freeze({ create: post('tokens') });
    this.entries = Object.freeze({
      postAll: (entries, options = {}) => new PostAll(this.#call, options).run(entries),
      postAtomic: async (entries, options) => post('batch?atomic=true')({ entries }, options),
      list: (userId, options) => this.#history(userId, options),
      find: (key, options) => this.#find(key, options),
    });
    this.balances = Object.freeze({
      get: async (userId, { fresh, min_version, ...request } = {}) =>
        this.#call('GET', userPath(userId, '/balance'), {
          ...request,
          query: { fresh, min_version },
          waitMs: min_version === undefined ? 0 : 5_000,
        }),
      list: (options) => this.#balances(options),
    });
    this.users = Object.freeze({
      put: async (userId, fields = {}, options) => this.#call('PUT', userPath(userId), { ...options, body: jsonOf(fields) }),
    });
  }

  feed(options) {
    return feed(this.#call, options);
  }

  #history(userId, { limit, before_version, ...request } = {}) {
    const path = userPath(userId, '/entries');
    const read = (cursor) => this.#call('GET', path, { ...request, query: { limit, before_version: cursor ?? before_version } });
    // Versions count from 1 without gaps: before that there is nothing.
    const next = ({ entries }) => (entries.length && entries.at(-1).version > 1 ? entries.at(-1).version : null);
    return new Pages(read, 'entries', next);
  }

  #balances({ limit, after, ...request } = {}) {
    const read = (cursor) => this.#call('GET', '/internal/v1/balances', { ...request, query: { limit, after: cursor ?? after } });
    return new Pages(read, 'balances', ({ next }) => next);
  }

  async #find({ event_id, tx_hash } = {}, options) {
    try {
      return await this.#call('GET', '/internal/v1/entries', { ...options, query: { event_id, tx_hash } });
    } catch (error) {
      if (error.code === 'unknown_entry') return null;
      throw error;
    }
  }
}

function userPath(userId, rest = '') {
  if (!Number.isSafeInteger(userId) || userId < 1) throw new TypeError(`a user id is an integer from 1 to 2^53 - 1; got ${String(userId)}`);
  return `/internal/v1/users/${userId}${rest}`;
}

module.exports = { BalanceCoordinator };
