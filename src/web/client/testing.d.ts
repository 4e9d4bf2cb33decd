import type { BalanceSource, BalanceState } from './balance-client.js';

export interface FakeBalance<Currency extends string = string> extends BalanceSource<Currency> {
  /** Changes the state, and tells the listeners. */
  set(patch: Partial<BalanceState<Currency>>): void;
}

/**
 * A balance for tests and storybooks: `fakeBalance({ balances: { TON: '1.5' } })` is live, `fakeBalance()` is as a client before
 * `start()`. It opens no connection; `refresh`, `read` and `waitFor` resolve with the state as it is.
 */
export function fakeBalance<Currency extends string = string>(state?: Partial<BalanceState<Currency>>): FakeBalance<Currency>;
