import type { BalanceSource } from './balance-client.js';

/**
 * `<ton-balance currency="TON" locale="en" min-decimals="2" max-decimals="4">…</ton-balance>`: one currency of a client's
 * balance, in a `<span part="amount">`. The attributes `status` and `stale` follow the state, for style sheets. What is
 * between the tags is shown while no balance is known.
 */
export class TonBalance extends HTMLElement {
  /** The client of all elements that have none of their own. The page starts it. */
  static get client(): BalanceSource | null;
  static set client(client: BalanceSource | null | undefined);
  /**
   * This element's client. Without any, and with the attribute `url` in a Telegram mini app, the element makes its own and
   * starts and stops it.
   */
  get client(): BalanceSource | null;
  set client(client: BalanceSource | null | undefined);
}

declare global {
  interface HTMLElementTagNameMap {
    'ton-balance': TonBalance;
  }
}

/**
 * Makes the element known to the page; the name is `ton-balance` unless another is given. May be called twice, and on a
 * server. Throws when the name is taken by another element.
 */
export function define(name?: string): void;
