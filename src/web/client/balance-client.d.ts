/** An amount as the service writes it: a decimal string such as `"0.100000000"`, never a number. */
export type Amount = string;

/**
 * - `connecting`: started, and not live yet for the first time, or signing in again
 * - `live`: connected; every change arrives by itself
 * - `offline`: not connected; it tries again by itself
 * - `unauthorized`: there is no token, it was refused twice, or another tab has signed out; `start()` or `refresh()` tries again
 * - `misconfigured`: a fault of the page that no waiting cures (`error` says which); `start()` or `refresh()` tries again
 * - `closed`: not started, stopped, or sent away for good by the service (then `error` says why)
 */
export type BalanceStatus = 'connecting' | 'live' | 'offline' | 'unauthorized' | 'misconfigured' | 'closed';

/** What a `BalanceError` may have as its `code`. */
export type BalanceErrorCode =
  // The page. The first three are thrown by the constructor.
  | 'invalid_options'
  | 'invalid_url'
  | 'insecure_url'
  | 'init_data_failed'
  | 'token_failed'
  | 'invalid_token'
  | 'signed_out'
  | 'closed'
  // The way to the service.
  | 'network'
  | 'timeout'
  | 'offline'
  | 'connection_lost'
  | 'wrong_user'
  | 'epoch_over'
  | 'taken_over'
  // The service, in an answer, in an error frame, or as the reason of the end of a connection.
  | 'unauthorized'
  | 'unauthenticated'
  | 'token_expired'
  | 'origin_not_allowed'
  | 'not_found'
  | 'unknown_user'
  | 'version_not_reached'
  | 'rate_limited'
  | 'overloaded'
  | 'ledger_unavailable'
  | 'shutting_down'
  | 'going_away'
  | 'invalid_message'
  | 'unsupported_data'
  | 'invalid_utf8'
  | 'message_too_big'
  | 'bad_messages'
  | 'heartbeat_lost'
  | 'too_fast'
  | 'too_many_sessions'
  | 'closed_by_administrator'
  | 'unknown'
  | `http_${number}`;

export interface BalanceUpdate<Currency extends string = string> {
  /** The version that the push brought. Once `BalanceState.version` is another one, the push is no longer the latest change. */
  readonly version: number;
  /** The signed difference between the balances shown before the push and by it, of each currency that differs. */
  readonly changes: Readonly<Partial<Record<Currency, Amount>>>;
  /** Where the changes came from. */
  readonly sources: readonly string[];
  /** How many entries lie between the two. */
  readonly entries: number;
  readonly mode: 'direct' | 'paced';
  readonly committedAt: string;
}

/** `Currency` is the union of the currencies that the service has, such as `'TON' | 'UNI'`, when the page knows them. */
export interface BalanceState<Currency extends string = string> {
  readonly status: BalanceStatus;
  readonly userId: number | null;
  /** All balances by currency; null while none is known. */
  readonly balances: Readonly<Record<Currency, Amount>> | null;
  /** The balances are the ledger's state after so many entries of the user. */
  readonly version: number | null;
  /** Versions are comparable within one epoch. */
  readonly epoch: string | null;
  /** When these balances were last known to be the ledger's (RFC 3339). */
  readonly asOf: string | null;
  /** Whether they may be out of date: just restored, not connected, or the ledger cannot be reached. */
  readonly isStale: boolean;
  /** What went wrong last, until the next good answer. The value beside it stays. */
  readonly error: BalanceError | null;
  /** The last push that changed what is shown, for an animation such as "+0.1 TON". */
  readonly lastUpdate: BalanceUpdate<Currency> | null;
}

export interface StorageLike {
  getItem(name: string): string | null;
  setItem(name: string, text: string): void;
  removeItem(name: string): void;
}

/** What the connection does, for logs: each has the time, and what is known of the reason. */
export type ConnectionEvent = { readonly at: string } & (
  | { readonly type: 'status'; readonly status: BalanceStatus; readonly code?: BalanceErrorCode | undefined }
  | { readonly type: 'credential_asked' }
  | { readonly type: 'credential_failed'; readonly code: BalanceErrorCode; readonly error: BalanceError }
  | { readonly type: 'opening'; readonly isShared: boolean }
  | { readonly type: 'live' }
  | { readonly type: 'leader_silent' | 'slept' }
  | { readonly type: 'lost'; readonly closeCode: number; readonly reason: string; readonly code: BalanceErrorCode }
  | { readonly type: 'retrying'; readonly waitMs: number; readonly code: BalanceErrorCode }
);

interface CommonOptions {
  /** Where the service is, such as `https://balance.example.org`; by default where the page came from. */
  url?: string | URL | undefined;
  /**
   * `localStorage` or `sessionStorage`: keeps the last value, to be shown at once after a reload. Off by default. Where the
   * user forbids it, reading `localStorage` throws; `() => localStorage` leaves that to the client, which then goes without.
   */
  storage?: StorageLike | (() => StorageLike) | undefined;
  /** The user, when the page knows: the stored value is then shown even before there is a token. */
  userId?: number | undefined;
  /** One connection for all tabs of the user, where the browser has the means. On by default. */
  share?: boolean | undefined;
  /** Where `WebSocket`, `fetch`, `document` and the like come from, for tests; by default `globalThis`. */
  env?: typeof globalThis | undefined;
  /** Tells each `ConnectionEvent` to the console, or to this function. */
  debug?: boolean | ((event: ConnectionEvent) => void) | undefined;
}

export type BalanceOptions = CommonOptions &
  (
    | {
        /**
         * Fetches a session token. Called for the first connection, ahead of the token's end, and when it was refused.
         * Nothing (`null`, `""`) means that there is no signed-in user; an error, or no answer for 10 s, that it is worth trying again.
         */
        getToken: () => string | null | undefined | Promise<string | null | undefined>;
        getInitData?: undefined;
      }
    | {
        /** `() => Telegram.WebApp.initData`, in a Telegram mini app. */
        getInitData: () => string | null | undefined | Promise<string | null | undefined>;
        getToken?: undefined;
      }
  );

export interface WaitOptions {
  /** 10 seconds by default. `refresh` and `read` then resolve with the state and a `timeout` error in it; `waitFor` rejects. */
  timeoutMs?: number | undefined;
  /** Aborted, the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

export class BalanceError extends Error {
  override readonly name: 'BalanceError';
  readonly code: BalanceErrorCode;
  /** Whether trying again can't help: the page or its settings have to change. */
  readonly isFinal: boolean;
  /** What was thrown, by the browser, by `getToken` or by `getInitData`. */
  override readonly cause?: unknown;
  constructor(code: BalanceErrorCode, message?: string, options?: { cause?: unknown; isFinal?: boolean | undefined });
}

/** What shows a balance: a `BalanceClient`, or `fakeBalance()` in a test. */
export interface BalanceSource<Currency extends string = string> {
  /** The state now: the same object until something changes. */
  readonly current: BalanceState<Currency>;
  /** As `current`, for `useSyncExternalStore`. */
  readonly getSnapshot: () => BalanceState<Currency>;
  /** Calls the listener after each change of the state. Returns what ends that. */
  readonly subscribe: (listener: (state: BalanceState<Currency>) => void) => () => void;
  /** Connects, and keeps connected. Nothing when it is started already, or without a document (on a server). */
  start(): void;
  /**
   * Signs out: disconnects and forgets the balance, here and in the user's other tabs, the stored one too. With
   * `forget: false` it only disconnects this page.
   */
  stop(options?: { forget?: boolean | undefined }): void;
  /**
   * Asks the ledger, whatever is cached. Never fails: an error stands in the state that it resolves with (`closed` where
   * nothing was asked, `ledger_unavailable` where only an older balance is known). Without one the state is no older than the
   * ledger was at the call.
   */
  refresh(options?: WaitOptions): Promise<BalanceState<Currency>>;
  /** Reads over HTTP when the cache policy of the service wants it; a live balance needs no reading. Never fails. */
  read(options?: WaitOptions): Promise<BalanceState<Currency>>;
  /**
   * Resolves when this version is shown, so that a page that just acted sees its own change. Rejects with `timeout`, `closed`,
   * `signed_out` or what else ended the client, `wrong_user` (another user has signed in), `invalid_options` (no version), or
   * the signal's reason.
   */
  waitFor(version: number, options?: WaitOptions): Promise<BalanceState<Currency>>;
}

export class BalanceClient<Currency extends string = string> implements BalanceSource<Currency> {
  /** Throws a `BalanceError` when the options can't work: `invalid_options`, `invalid_url`, `insecure_url`. */
  constructor(options: BalanceOptions);
  readonly current: BalanceState<Currency>;
  readonly getSnapshot: () => BalanceState<Currency>;
  readonly subscribe: (listener: (state: BalanceState<Currency>) => void) => () => void;
  /** Calls the listener with what the connection does. Returns what ends that. */
  readonly onConnection: (listener: (event: ConnectionEvent) => void) => () => void;
  start(): void;
  stop(options?: { forget?: boolean | undefined }): void;
  refresh(options?: WaitOptions): Promise<BalanceState<Currency>>;
  read(options?: WaitOptions): Promise<BalanceState<Currency>>;
  waitFor(version: number, options?: WaitOptions): Promise<BalanceState<Currency>>;
}

export interface FormatOptions extends Omit<Intl.NumberFormatOptions, 'minimumFractionDigits' | 'maximumFractionDigits'> {
  /** One that is no language tag (`en_US`) is read as one where that can be, else the browser's is taken. */
  locale?: string | string[] | undefined;
  /** Zeros are added to so many digits. None by default. */
  minDecimals?: number | undefined;
  /**
   * Further digits are cut off downwards, in every notation, so that no more is shown than there is: 0.999 becomes 0.99, and
   * −0.009 becomes −0.01. All by default.
   */
  maxDecimals?: number | undefined;
}

/** The amount as people write it, exact to the last digit. Throws a TypeError for what is no decimal string. */
export function format(amount: Amount, options?: FormatOptions): string;
/** Below zero, zero, or above: for sorting and conditions. */
export function compare(a: Amount, b: Amount): -1 | 0 | 1;
/** The exact sum, with the longer fraction of the two. */
export function add(a: Amount, b: Amount): Amount;
