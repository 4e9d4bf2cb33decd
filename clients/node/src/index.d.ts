export * from './amount.js';
export * from './entries.js';
export * from './errors.js';
export * from './tokens.js';

import type { Amount } from './amount.js';
import type {
  AdjustmentFields,
  AtomicAnswer,
  BatchItem,
  DepositFields,
  Entry,
  EntryAnswer,
  FoundEntry,
  ReversalFields,
  RewardFields,
  WithdrawalFields,
} from './entries.js';
import type { BalanceCoordinatorError, PostAllSummary } from './errors.js';
import type { Token } from './tokens.js';

export interface ClientOptions {
  /** The internal listener, such as `http://127.0.0.1:8081`. */
  url: string;
  /** One of `auth.webhook_secrets`: `whsec_…`. */
  secret: string;
  /** How long one attempt may take. 10 seconds by default. */
  timeoutMs?: number | undefined;
  /** How often a call is sent again after its first attempt. 5 by default. */
  maxRetries?: number | undefined;
  /** In the place of `globalThis.fetch`: for a proxy, a certificate authority of your own, or tracing. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Called before each wait, for logs and metrics. */
  onRetry?: ((retry: Retry) => void) | undefined;
}

export interface Retry {
  /** The attempt that has failed: 1 is the first. */
  attempt: number;
  /** How long it waits before the next. */
  waitMs: number;
  error: BalanceCoordinatorError;
  method: string;
  path: string;
}

/** For one call. */
export interface RequestOptions {
  /** Aborted, the call rejects with an `AbortError`, which says whether something may have been stored. */
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
  maxRetries?: number | undefined;
}

export interface PostAllOptions extends RequestOptions {
  /** Batches on their way at once. 4 by default. */
  concurrency?: number | undefined;
  /** Entries of a batch. 1,000 by default. */
  itemsMax?: number | undefined;
  /** Bytes of a batch, unless one entry alone has more. 1 MiB by default. */
  bytesMax?: number | undefined;
  /** Called after each answer. */
  onProgress?: ((progress: PostAllProgress) => void) | undefined;
}

/** `read` counts what was taken from the iterable; the rest of it is on its way or waits to be sent. */
export type PostAllProgress = Pick<PostAllSummary, 'read' | 'accepted' | 'duplicates' | 'rejected'>;

export interface Balance<Currency extends string = string> {
  user_id: number;
  /** Versions are comparable within one epoch. */
  epoch: string;
  /** The balances are the ledger's state after so many entries of the user. */
  version: number;
  balances: Record<Currency, Amount>;
  /** When these balances were last known to be the ledger's. */
  as_of: string;
  /** Whether the ledger cannot be reached, and this is the last known state. */
  stale: boolean;
}

export interface UserBalances<Currency extends string = string> {
  user_id: number;
  version: number;
  balances: Record<Currency, Amount>;
}

/** Awaited, the first page; iterated (`for await`), every item of all pages, read as they are needed. */
export interface Pages<Page, Item> extends PromiseLike<Page>, AsyncIterable<Item> {
  catch<Other = never>(reject?: ((reason: unknown) => Other | PromiseLike<Other>) | null): Promise<Page | Other>;
  finally(task?: (() => void) | null): Promise<Page>;
}

export interface FeedPage<Currency extends string = string> {
  epoch: string;
  entries: Entry<Currency>[];
  /** The cursor after these entries. Store it together with what you made of them. */
  next: string;
}

export interface FeedOptions extends RequestOptions {
  /** The `next` of an earlier page; `'latest'` for what comes from now on; without it from the beginning of the ledger. */
  after?: string | undefined;
  /** Entries of a page, 1 to 1,000. */
  limit?: number | undefined;
  /** How long the service waits for the first entry of a page. 25,000 by default, 30,000 at most. */
  wait_ms?: number | undefined;
  /** With `false` it ends when all entries were given. By default it goes on until it is aborted. */
  follow?: boolean | undefined;
}

export interface User {
  user_id: number;
  /** Absent as long as none is linked. */
  telegram_id?: number;
}

/** `Currency` is the union of the currencies that the service has, such as `'TON' | 'UNI'`. */
export class BalanceCoordinator<Currency extends string = string> {
  /** Throws a TypeError when the options can't work. Sends nothing. */
  constructor(options: ClientOptions);

  readonly deposits: {
    create(deposit: DepositFields<Currency>, options?: RequestOptions): Promise<EntryAnswer<Currency>>;
  };
  readonly rewards: {
    create(reward: RewardFields<Currency>, options?: RequestOptions): Promise<EntryAnswer<Currency>>;
  };
  readonly withdrawals: {
    /** `amount` is positive. Rejects with an `InsufficientFundsError` when the balance is too low. */
    create(withdrawal: WithdrawalFields<Currency>, options?: RequestOptions): Promise<EntryAnswer<Currency>>;
    /** Takes a withdrawal back, or another entry: all that is left of it, or `amount`. */
    refund(reversal: ReversalFields<Currency>, options?: RequestOptions): Promise<EntryAnswer<Currency>>;
  };
  readonly adjustments: {
    create(adjustment: AdjustmentFields<Currency>, options?: RequestOptions): Promise<EntryAnswer<Currency>>;
  };
  readonly entries: {
    /**
     * Sends any number of entries in batches. A bad entry stops no other: the summary names it by its place in `entries`, from 0.
     * Each user's entries apply in their order. When it has to stop, it rejects with a `PostAllError` that has the summary so
     * far; the same call again doubles nothing.
     */
    postAll(
      entries: Iterable<BatchItem<Currency> | PromiseLike<BatchItem<Currency>>> | AsyncIterable<BatchItem<Currency>>,
      options?: PostAllOptions,
    ): Promise<PostAllSummary<BatchItem<Currency>>>;
    /** All of them, or none: then it rejects with the first bad entry's error, which has its `index` and all `results`. */
    postAtomic(entries: readonly BatchItem<Currency>[], options?: RequestOptions): Promise<AtomicAnswer>;
    /** A user's history, newest first. */
    list(
      userId: number,
      options?: RequestOptions & { limit?: number | undefined; before_version?: number | undefined },
    ): Pages<{ entries: Entry<Currency>[] }, Entry<Currency>>;
    /** The entry, or null when the ledger has none. */
    find(
      key: { event_id: string; tx_hash?: undefined } | { tx_hash: string; event_id?: undefined },
      options?: RequestOptions,
    ): Promise<FoundEntry<Currency> | null>;
  };
  readonly balances: {
    /** `fresh` asks the ledger; `min_version` waits, 5 seconds at most, until the user has this version. */
    get(
      userId: number,
      options?: RequestOptions & { fresh?: boolean | undefined; min_version?: number | undefined },
    ): Promise<Balance<Currency>>;
    /** All users, in the order of their ids. */
    list(
      options?: RequestOptions & { limit?: number | undefined; after?: number | undefined },
    ): Pages<{ balances: UserBalances<Currency>[]; next: number | null }, UserBalances<Currency>>;
  };
  readonly users: {
    /** Creates the user, or links a Telegram id. Repeating it changes nothing. */
    put(userId: number, fields?: { telegram_id?: number | undefined }, options?: RequestOptions): Promise<User>;
  };
  readonly tokens: {
    /** A session token for a user that you have signed in. */
    create(fields: { user_id: number; ttl_s?: number | undefined }, options?: RequestOptions): Promise<Token>;
  };
  /**
   * Every committed entry once, page by page, each user's in the order of its versions. What breaks is tried again without an
   * end, unless `maxRetries` says otherwise.
   */
  feed(options?: FeedOptions): AsyncGenerator<FeedPage<Currency>, void, undefined>;
}
