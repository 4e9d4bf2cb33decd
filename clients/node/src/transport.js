'use strict';

// One call to the service: signed anew for each attempt, and sent again while that can help. Sending again is always safe, because
// an event id counts once. An attempt ends with an answer or with an error that says whether it may have had an effect.

const { randomUUID } = require('node:crypto');
const { setMaxListeners } = require('node:events');
const {
  AbortError,
  BalanceCoordinatorError,
  ConnectionError,
  errorOf,
  InvalidRequestError,
  isConclusive,
  SignatureError,
  TimeoutError,
  UnexpectedAnswerError,
} = require('./errors.js');
const { keyOf, signed } = require('./signing.js');

const TIMEOUT_MS = 10_000;
const RETRIES_MAX = 5;
const BACKOFF_MIN_MS = 200;
const BACKOFF_MAX_MS = 10_000;
// A longer `Retry-After` is not waited for: the error tells it.
const RETRY_AFTER_MAX_MS = 60_000;
const TIMER_MAX_MS = 2 ** 31 - 1;
// With these there was no connection, so nothing was sent.
const NOT_CONNECTED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT']);

class Transport {
  #base;
  #key;
  #fetch;
  #onRetry;
  #timeoutMs;
  #maxRetries;

  constructor({ url, secret, timeoutMs = TIMEOUT_MS, maxRetries = RETRIES_MAX, fetch = globalThis.fetch, onRetry, ...unknown } = {}) {
    const [name] = Object.keys(unknown);
    if (name !== undefined) throw new TypeError(`BalanceCoordinator has no option ${name}`);
    this.#base = baseOf(url);
    this.#key = keyOf(secret);
    this.#timeoutMs = checkedNumber('timeoutMs', timeoutMs, 1);
    this.#maxRetries = checkedNumber('maxRetries', maxRetries, 0);
    if (typeof fetch !== 'function') throw new TypeError('fetch is no function');
    if (onRetry !== undefined && typeof onRetry !== 'function') throw new TypeError('onRetry is no function');
    this.#fetch = fetch;
    this.#onRetry = onRetry;
  }

  /** The answer's JSON. `body` is text; `waitMs` is how long the service may take on purpose. */
  async call(method, path, { body, query, waitMs = 0, timeoutMs = this.#timeoutMs, maxRetries = this.#maxRetries, signal } = {}) {
    checkedNumber('timeoutMs', timeoutMs, 1);
    checkedNumber('maxRetries', maxRetries, 0);
    const call = { method, path, query, body: Buffer.from(body ?? ''), id: `msg_${randomUUID()}`, timeoutMs: timeoutMs + waitMs, signal };
    let isUnknown = false; // whether an earlier attempt may have had an effect
    for (let attempt = 1; ; attempt += 1) {
      if (signal?.aborted) throw abortError(signal, isUnknown);
      let error;
      try {
        return await this.#attempt(call);
      } catch (thrown) {
        error = thrown;
      }
      if (error instanceof AbortError) throw error;
      const { retryAfterMs = 0 } = error;
      if (!error.isTransient || attempt > maxRetries || retryAfterMs > RETRY_AFTER_MAX_MS) {
        throw await this.#finished(error, { call, attempt, isUnknown });
      }
      isUnknown ||= error.outcome === 'unknown';
      const waitForMs = retryAfterMs + backoffMs(attempt);
      this.#onRetry?.({ attempt, waitMs: waitForMs, error, method, path });
      await pause(waitForMs, signal, isUnknown);
    }
  }

  async #finished(error, { call, attempt, isUnknown }) {
    error.attempts = attempt;
    if (isUnknown && !isConclusive(error)) error.outcome = 'unknown';
    if (error instanceof SignatureError) error.reason ??= await this.#signatureReason(error, call);
    return error;
  }

  async #attempt(call) {
    const { method, body, id, timeoutMs, signal } = call;
    const abort = new AbortController();
    const unlisten = onAborted(signal, () => abort.abort());
    let isTimeout = false;
    const timer = setTimeout(
      () => {
        isTimeout = true;
        abort.abort();
      },
      Math.min(timeoutMs, TIMER_MAX_MS),
    );
    try {
      const response = await this.#fetch(this.#url(call), {
        method,
        headers: { accept: 'application/json', ...(body.length && { 'content-type': 'application/json' }), ...signed(this.#key, id, body) },
        body: body.length ? body : undefined,
        redirect: 'manual', // a signature is for this service alone
        signal: abort.signal,
      });
      return outcomeOf(response, await response.text());
    } catch (error) {
      if (error instanceof BalanceCoordinatorError) throw error;
      if (signal?.aborted) throw abortError(signal, true);
      if (isTimeout) throw timeoutError(call, error);
      throw connectionError(call, error);
    } finally {
      clearTimeout(timer);
      unlisten();
    }
  }

  #url({ path, query }) {
    const url = new URL(this.#base + path);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, value);
    }
    return url.href;
  }

  // An invalid signature: with the wrong secret every request is refused, with changed bytes only one that has a body.
  async #signatureReason({ code, field }, { body, timeoutMs, signal }) {
    if (code === 'timestamp_out_of_range') return 'clock';
    if (code === 'missing_signature' || field !== undefined) return 'headers';
    if (!body.length) return 'secret';
    const empty = {
      method: 'GET',
      path: '/internal/v1/users/1/balance',
      body: Buffer.alloc(0),
      id: `msg_${randomUUID()}`,
      timeoutMs,
      signal,
    };
    const error = await this.#attempt(empty).catch((thrown) => thrown);
    if (error.code === 'invalid_signature') return 'secret';
    const isPastSignature = error.code === undefined || (error.status < 500 && error.code !== 'unexpected_answer');
    return isPastSignature ? 'bytes' : 'unknown';
  }
}

function outcomeOf(response, text) {
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    // Not JSON: not from the service, or an answer without a body.
  }
  const isObject = typeof json === 'object' && json !== null;
  const { status } = response;
  if (response.ok) {
    if (isObject) return json;
    const message = `${status} without JSON: is this the internal listener of balance-coordinator?`;
    throw new UnexpectedAnswerError(message, { code: 'unexpected_answer', status, outcome: 'unknown' });
  }
  const error = errorOf(status, isObject && typeof json.code === 'string' ? json : null, retryAfterMs(response.headers.get('retry-after')));
  if (error.code === 'timestamp_out_of_range') tellClock(error, response.headers.get('date'));
  throw error;
}

function tellClock(error, date) {
  const theirMs = Date.parse(date ?? '');
  if (Number.isNaN(theirMs)) return;
  error.clockOffsetMs = theirMs - Date.now();
  const seconds = Math.round(Math.abs(error.clockOffsetMs) / 1000);
  error.message += `; this machine's clock is ${seconds} s ${error.clockOffsetMs > 0 ? 'behind' : 'ahead of'} the service's`;
}

/** `Retry-After`, in seconds or as a date; null without one. */
function retryAfterMs(header) {
  if (header === null) return null;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? null : Math.max(0, atMs - Date.now());
}

/** Full jitter: anything from nothing to a limit that doubles. */
function backoffMs(attempt) {
  return Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (attempt - 1));
}

/** Waits, or rejects as soon as the signal aborts. */
async function pause(ms, signal, isUnknown) {
  let unlisten;
  let timer;
  try {
    await new Promise((resolve, reject) => {
      timer = setTimeout(resolve, ms);
      unlisten = onAborted(signal, () => reject(abortError(signal, isUnknown)));
    });
  } finally {
    clearTimeout(timer);
    unlisten();
  }
}

/** Runs the task when the signal aborts, or now when it has. Returns what ends the waiting. */
function onAborted(signal, task) {
  if (!signal) return () => {};
  if (signal.aborted) task();
  // One signal may end many calls at once. That is no leak, of which Node would warn.
  if (signal instanceof AbortSignal) setMaxListeners(0, signal);
  signal.addEventListener('abort', task, { once: true });
  return () => signal.removeEventListener('abort', task);
}

function abortError(signal, isUnknown) {
  const outcome = isUnknown ? 'unknown' : 'refused';
  return new AbortError('the call was aborted', { code: 'aborted', outcome, cause: signal.reason });
}

function timeoutError({ method, path, timeoutMs }, cause) {
  const message = `${method} ${path}: no answer within ${timeoutMs} ms`;
  return new TimeoutError(message, { code: 'timeout', outcome: 'unknown', isTransient: true, cause });
}

function connectionError({ method, path }, cause) {
  const why = cause?.cause?.code ?? cause?.cause?.message ?? cause?.message ?? cause;
  const outcome = NOT_CONNECTED.has(cause?.cause?.code) ? 'refused' : 'unknown';
  const message = `${method} ${path}: the connection failed: ${why}`;
  return new ConnectionError(message, { code: 'connection_failed', outcome, isTransient: true, cause });
}

/** The JSON of a value; an InvalidRequestError for what JSON can't hold. */
function jsonOf(value) {
  let why = 'is no JSON value';
  try {
    const text = JSON.stringify(value, (name, part) => {
      if (typeof part === 'bigint')
        throw new TypeError(`${name || 'it'} is a bigint: an amount is a decimal string (amount.from), an id a number`);
      return part;
    });
    if (text !== undefined) return text;
  } catch (error) {
    why = error.message;
  }
  throw new InvalidRequestError(`invalid_json: ${why}`, { code: 'invalid_json' });
}

function baseOf(url) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw new TypeError(`url is no URL, such as http://127.0.0.1:8081: ${url}`);
  }
  const { protocol, username, password, search, hash, href } = parsed;
  if (!['http:', 'https:'].includes(protocol)) throw new TypeError(`url is neither http: nor https:, but ${protocol}`);
  if (username || password || search || hash) throw new TypeError('url may have a host, a port and a path, and nothing else');
  return href.replace(/\/+$/, '');
}

function checkedNumber(name, value, min) {
  if (typeof value !== 'number' || !(value >= min)) throw new TypeError(`${name} must be a number from ${min} on; got ${value}`);
  return value;
}

module.exports = { Transport, backoffMs, checkedNumber, jsonOf, onAborted, pause };
