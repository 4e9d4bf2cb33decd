/** An amount as the service writes it: a decimal string such as `"0.100000000"`, never a number. */
export type Amount = string;

/**
 * - `connecting`: started, and not live yet for the first time, or signing in again
 * - `live`: connected; every change arrives by itself
 * - `offline`: not connected; it tries again by itself
 * - `unauthorized`: nobody is signed in, or the token was refused twice; `start()` or `refresh()` tries again
 * - `closed`: not started, stopped, or sent away for good by the service (then `error` says why)
 */
export type BalanceStatus = 'connecting' | 'live' | 'offline' | 'unauthorized' | 'closed';

export interface BalanceUpdate {
  version: number;
  /** The signed change of each currency that changed, since the user's last push. */
  changes: Record<string, Amount>;
  /** Where the changes came from. */
  sources: string[];
  /** How many entries it sums up. */
  entries: number;
  mode: 'direct' | 'paced';
  committedAt: string;
}

export interface BalanceState {
  readonly status: BalanceStatus;
  readonly userId: number | null;
  /** All balances by currency; null while none is known. */
  readonly balances: Readonly<Record<string, Amount>> | null;
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
  /** The last push, for an animation such as "+0.1 TON". */
  readonly lastUpdate: BalanceUpdate | null;
}

export interface StorageLike {
  getItem(name: string): string | null;
  setItem(name: string, text: string): void;
  removeItem(name: string): void;
}

interface CommonOptions {
  /** Where the service is, such as `https://balance.example.org`; by default where the page came from. */
  url?: string;
  /** `localStorage` or `sessionStorage`: keeps the last value, to be shown at once after a reload. Off by default. */
  storage?: StorageLike;
  /** The user, when the page knows: the stored value is then shown even before there is a token. */
  userId?: number;
  /** One connection for all tabs of the user, where the browser has the means. On by default. */
  share?: boolean;
  /** Where `WebSocket`, `fetch`, `document` and the like come from, for tests; by default `globalThis`. */
  env?: typeof globalThis;
}

export type BalanceOptions = CommonOptions &
  (
    | {
        /**
         * Fetches a session token. Called for the first connection, ahead of the token's end, and when it was refused.
         * Nothing (`null`, `""`) means that nobody is signed in; an error, or no answer for 10 s, that it is worth trying again.
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
  /** 10 seconds by default. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export class BalanceError extends Error {
  /** A code of the service (`ledger_unavailable`, `unauthorized`, …), a reason why a connection ended
   * (`token_expired`, `connection_lost`, …), or `network`, `timeout`, `signed_out`, `closed`. */
  readonly code: string;
  constructor(code: string, message?: string);
}

export class BalanceClient {
  constructor(options: BalanceOptions);
  /** The state now: the same object until something changes. */
  readonly current: BalanceState;
  /** As `current`, for `useSyncExternalStore`. */
  readonly getSnapshot: () => BalanceState;
  /** Calls the listener after each change of the state. Returns what ends that. */
  readonly subscribe: (listener: (state: BalanceState) => void) => () => void;
  /** Connects, and keeps connected. Nothing when it is started already. */
  start(): void;
  /** Signs out: disconnects and forgets the balance, the stored one too unless `forget` is false. */
  stop(options?: { forget?: boolean }): void;
  /** Asks the ledger, whatever is cached. Never fails: an error stands in the state that it resolves with. */
  refresh(): Promise<BalanceState>;
  /** Reads over HTTP when the cache policy of the service wants it; a live balance needs no reading. Never fails. */
  read(): Promise<BalanceState>;
  /** Resolves when this version is shown, so that a page that just acted sees its own change. */
  waitFor(version: number, options?: WaitOptions): Promise<BalanceState>;
}

export interface FormatOptions extends Omit<Intl.NumberFormatOptions, 'minimumFractionDigits' | 'maximumFractionDigits'> {
  locale?: string | string[];
  /** Zeros are added to so many digits. None by default. */
  minDecimals?: number;
  /** Further digits are cut off, never rounded, so that no more is shown than there is. All by default. */
  maxDecimals?: number;
}

/** The amount as people write it, exact to the last digit. Throws a TypeError for what is no decimal string. */
export function format(amount: Amount, options?: FormatOptions): string;
/** Below zero, zero, or above: for sorting and conditions. */
export function compare(a: Amount, b: Amount): -1 | 0 | 1;
/** The exact sum, with the longer fraction of the two. */
export function add(a: Amount, b: Amount): Amount;
