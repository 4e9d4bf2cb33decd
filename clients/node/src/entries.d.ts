import type { Amount } from './amount.js';

interface CommonFields {
  /**
   * Names the event, not the time of sending: `farm:<user>:<period>`. It counts once for as long as the ledger is kept, so a call
   * with the same one is safe to repeat. 1 to 128 printable ASCII characters.
   */
  event_id: string;
  user_id: number;
  /** Shown to sessions and in histories: 1 to 64 of `a-z 0-9 _ . : -`. By default the kind. */
  source?: string | undefined;
  occurred_at?: string | Date | undefined;
  /** Stored and given back unchanged; at most 4 KiB. */
  metadata?: { readonly [name: string]: unknown } | undefined;
}

interface AmountFields<Currency extends string> extends CommonFields {
  currency: Currency;
  /** A decimal string, see `amount.from`. */
  amount: Amount;
}

interface DepositDetails {
  /** 64 hex digits, base64 or base64url: all spellings are one deposit. */
  tx_hash?: string | undefined;
  /** Digits. */
  lt?: string | undefined;
  /** The sender's TON address. */
  account?: string | undefined;
}

/** A deposit with a transaction's hash needs no event id: it is then `ton:<hash>`. */
export type DepositFields<Currency extends string = string> =
  | (AmountFields<Currency> & DepositDetails)
  | (Omit<AmountFields<Currency>, 'event_id'> & DepositDetails & { event_id?: string | undefined; tx_hash: string });

export type RewardFields<Currency extends string = string> = AmountFields<Currency>;

/** `amount` is positive. */
export type WithdrawalFields<Currency extends string = string> = AmountFields<Currency>;

/** `amount` has either sign. */
export interface AdjustmentFields<Currency extends string = string> extends AmountFields<Currency> {
  reason: string;
}

export interface ReversalFields<Currency extends string = string> extends CommonFields {
  /** The event id of the entry to be taken back. */
  reverses: string;
  /** Positive, in the entry's currency. Without it all that is left. */
  amount?: Amount | undefined;
  /** The entry's. */
  currency?: Currency | undefined;
  reason?: string | undefined;
}

export type BatchItem<Currency extends string = string> =
  | ({ kind: 'deposit' } & DepositFields<Currency>)
  | ({ kind: 'reward' } & RewardFields<Currency>)
  | ({ kind: 'withdrawal' } & WithdrawalFields<Currency>)
  | ({ kind: 'adjustment' } & AdjustmentFields<Currency>)
  | ({ kind: 'reversal' } & ReversalFields<Currency>);

export type Kind = BatchItem['kind'];

/** The entry is durable. */
export interface EntryAnswer<Currency extends string = string> {
  event_id: string;
  user_id: number;
  version: number;
  /** Whether it was there already: by an earlier call, or by an earlier attempt of this one. */
  duplicate: boolean;
  /** After this entry: of a duplicate, as they were then. */
  balances: Record<Currency, Amount>;
  committed_at: string;
  /** Of a reversal. */
  reverses?: string;
}

/** The result of one entry of a batch. */
export interface ItemResult {
  index: number;
  event_id?: string;
  status: 'accepted' | 'duplicate' | 'rejected' | 'not_applied';
  version?: number;
  code?: string;
  field?: string;
}

export interface AtomicAnswer {
  accepted: number;
  duplicates: number;
  rejected: number;
  results: ItemResult[];
}

/** An entry of the ledger. */
export interface Entry<Currency extends string = string> {
  event_id: string;
  user_id: number;
  version: number;
  kind: Kind;
  currency: Currency;
  /** Signed: that of a withdrawal is negative. */
  amount: Amount;
  balance_after: Amount;
  source: string;
  reverses?: string;
  reason?: string;
  occurred_at?: string;
  metadata?: Record<string, unknown>;
  tx_hash?: string;
  lt?: string;
  account?: string;
  committed_at: string;
}

export interface FoundEntry<Currency extends string = string> extends Entry<Currency> {
  /** How much of it can still be taken back. Absent for a reversal. */
  left?: Amount;
}
