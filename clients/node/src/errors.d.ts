import type { Amount } from './amount.js';
import type { ItemResult } from './entries.js';

/**
 * - `refused`: nothing was stored, and this call will store nothing
 * - `unknown`: it may have been stored; the same call with the same event id finds out, and doubles nothing
 */
export type Outcome = 'refused' | 'unknown';

/** Every error of a call but TypeErrors for wrong arguments. */
export class BalanceCoordinatorError extends Error {
  /** That of the problem document, such as `insufficient_funds`; or `timeout`, `connection_failed`, `aborted`, `unexpected_answer`. */
  readonly code: string;
  readonly outcome: Outcome;
  /** Whether the same call can succeed later without a change. */
  readonly isTransient: boolean;
  /** Of the answer, where there was one. */
  readonly status?: number;
  /** The field at fault. */
  readonly field?: string;
  /** Of `postAtomic`: the first bad entry's place, and the result of each. */
  readonly index?: number;
  readonly results?: ItemResult[];
  readonly retryAfterMs?: number;
  /** How many attempts there were. */
  readonly attempts?: number;
}

/** The balance is too low. */
export class InsufficientFundsError extends BalanceCoordinatorError {
  /** What there is. Absent for an entry of a batch. */
  readonly available?: Amount;
}
/** More is taken back than is left of an entry. */
export class ExceedsOriginalError extends BalanceCoordinatorError {
  /** What is left of it. Absent for an entry of a batch. */
  readonly left?: Amount;
}
/** The event id is known with another user, kind, currency or amount. Do not send it again. */
export class IdempotencyConflictError extends BalanceCoordinatorError {}
/** A fault of the caller's: `code` and `field` say which. */
export class InvalidRequestError extends BalanceCoordinatorError {}
/** No such user, entry or endpoint: `unknown_user`, `unknown_entry`, `not_found`. */
export class NotFoundError extends BalanceCoordinatorError {}
/** The service refuses the signature. */
export class SignatureError extends BalanceCoordinatorError {
  /**
   * - `secret`: the service has another secret
   * - `clock`: the secret is right, and one of the clocks is wrong (`clockOffsetMs`)
   * - `bytes`: the secret is right, and the body was changed on its way, by a proxy for example
   * - `headers`: the headers of the signature were removed or changed on their way
   * - `unknown`: the service did not answer when it was asked once more
   */
  readonly reason: 'secret' | 'clock' | 'bytes' | 'headers' | 'unknown';
  /** The service's clock minus this machine's. */
  readonly clockOffsetMs?: number;
}
/** The service, or a proxy before it, can't take it now: 5xx, 408, 429. */
export class UnavailableError extends BalanceCoordinatorError {}
/** There is no connection, or it broke. */
export class ConnectionError extends BalanceCoordinatorError {}
/** No answer within `timeoutMs`. */
export class TimeoutError extends BalanceCoordinatorError {}
/** The signal was aborted; its reason is the `cause`. */
export class AbortError extends BalanceCoordinatorError {}
/** An answer that is not the service's. */
export class UnexpectedAnswerError extends BalanceCoordinatorError {}

export interface Rejection<Item = unknown> {
  /** The entry's place in the iterable, from 0. */
  index: number;
  event_id?: string;
  /** As of a single entry, such as `insufficient_funds`. */
  code: string;
  field?: string;
  /** Why an entry could not even be sent. */
  detail?: string;
  entry: Item;
}

export interface PostAllSummary<Item = unknown> {
  /** How many entries were taken from the iterable. */
  read: number;
  accepted: number;
  /** There already. */
  duplicates: number;
  rejected: number;
  rejections: Rejection<Item>[];
  /** Places of entries that were read and have no answer. Empty unless `postAll` had to stop. */
  unanswered: number[];
}

/** `postAll` had to stop; the `cause` says why. `outcome` is that of the unanswered entries. */
export class PostAllError extends BalanceCoordinatorError {
  readonly summary: PostAllSummary;
}
