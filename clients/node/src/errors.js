'use strict';

// What a call can be rejected with. `outcome` is 'refused' when nothing was stored and this call will store nothing, and 'unknown'
// when it may have been stored: then the same call, with the same event id, finds out.

class BalanceCoordinatorError extends Error {
  constructor(message, { cause, ...facts } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    Object.assign(this, { name: this.constructor.name, outcome: 'refused', isTransient: false, ...facts });
  }
}

class InsufficientFundsError extends BalanceCoordinatorError {}
class ExceedsOriginalError extends BalanceCoordinatorError {}
class IdempotencyConflictError extends BalanceCoordinatorError {}
class InvalidRequestError extends BalanceCoordinatorError {}
class NotFoundError extends BalanceCoordinatorError {}
class SignatureError extends BalanceCoordinatorError {}
class UnavailableError extends BalanceCoordinatorError {}
class ConnectionError extends BalanceCoordinatorError {}
class TimeoutError extends BalanceCoordinatorError {}
class AbortError extends BalanceCoordinatorError {}
class UnexpectedAnswerError extends BalanceCoordinatorError {}
class PostAllError extends BalanceCoordinatorError {}

// By the code of the problem document. A code that is not here is a BalanceCoordinatorError.
const CLASSES = new Map([
  ['insufficient_funds', InsufficientFundsError],
  ['exceeds_original', ExceedsOriginalError],
  ['idempotency_conflict', IdempotencyConflictError],
  ...['missing_signature', 'invalid_signature', 'timestamp_out_of_range'].map((code) => [code, SignatureError]),
  ...['unknown_user', 'unknown_entry', 'not_found'].map((code) => [code, NotFoundError]),
  ...`invalid_json invalid_field unknown_field unknown_currency invalid_amount invalid_tx_hash amount_overflow not_reversible
  batch_too_large body_too_large unsupported_media_type method_not_allowed`
    .split(/\s+/)
    .map((code) => [code, InvalidRequestError]),
]);

// Refusals that say nothing of an earlier attempt at the same: the request got no further than to the door.
const AT_THE_DOOR = new Set(
  `missing_signature invalid_signature timestamp_out_of_range unauthorized not_found method_not_allowed request_timeout
  body_too_large unsupported_media_type rate_limited`.split(/\s+/),
);

/** The error of an answer with another status than 2xx. `problem` is its document, null when it has none. */
function errorOf(status, problem, retryAfterMs) {
  const isTransient = status >= 500 || status === 408 || (status === 429 && retryAfterMs !== null);
  if (!problem && !isTransient) {
    const outcome = status >= 400 ? 'refused' : 'unknown';
    const message = `${status} without a problem document: is this the internal listener of balance-coordinator?`;
    return new UnexpectedAnswerError(message, { code: 'unexpected_answer', status, outcome });
  }
  const { code = `http_${status}`, title, detail, field, available, left, results } = problem ?? {};
  const Class = CLASSES.get(code) ?? (isTransient ? UnavailableError : BalanceCoordinatorError);
  const index = /^entries\[(\d+)\]/.exec(field ?? '')?.[1];
  const facts = {
    code,
    outcome: status >= 500 ? 'unknown' : 'refused',
    isTransient,
    status,
    field,
    index: index && Number(index),
    results,
    available,
    left,
    retryAfterMs: retryAfterMs ?? undefined,
  };
  const known = Object.entries(facts).filter(([, value]) => value !== undefined);
  const message = `${code}: ${detail ?? title ?? `status ${status}`}${field === undefined ? '' : ` (${field})`}`;
  return new Class(message, Object.fromEntries(known));
}

/** Whether a refusal proves that an earlier attempt at the same, whose outcome was not known, has stored nothing. */
function isConclusive({ outcome, code, status }) {
  return outcome === 'refused' && status !== undefined && code !== 'unexpected_answer' && !AT_THE_DOOR.has(code);
}

module.exports = {
  AbortError,
  BalanceCoordinatorError,
  ConnectionError,
  ExceedsOriginalError,
  IdempotencyConflictError,
  InsufficientFundsError,
  InvalidRequestError,
  NotFoundError,
  PostAllError,
  SignatureError,
  TimeoutError,
  UnavailableError,
  UnexpectedAnswerError,
  errorOf,
  isConclusive,
};
