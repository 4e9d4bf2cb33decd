import type { BalanceClient } from './balance-client.js';

/**
 * `<ton-balance currency="TON" locale="en" min-decimals="2" max-decimals="4">…</ton-balance>`: one currency of a client's
 * balance, in a `<span part="amount">`. The attributes `status` and `stale` follow the state, for style sheets. What is
 * between the tags is shown until the balance is known.
 */
export class TonBalance extends HTMLElement {
  /** The client of all elements that have none of their own. The page starts it. */
  static client: BalanceClient | null;
  /**
   * This element's client. Without any, and with the attribute `url` in a Telegram mini app, the element makes its own and
   * starts and stops it.
   */
  client: BalanceClient | null;
}

/** Makes the element known to the page; the name is `ton-balance` unless another is given. */
export function define(name?: string): void;
