// The wallet: credits deposits and pays withdrawals out.
//
// A withdrawal is taken from the balance first, and sent to the chain only when that is certain. When the chain refuses it, it is
// given back by a reversal, which can't give back more than was taken.

import { InsufficientFundsError } from '@balance-coordinator/node';

/** The transaction's hash is the event id, in any spelling: a deposit that is seen twice counts once. */
export async function credit(ledger, { hash, user_id, ton }) {
  return ledger.deposits.create({ tx_hash: hash, user_id, currency: 'TON', amount: ton });
}

/**
 * Takes the amount of a request for a withdrawal: `taken`, `refused` (with what there is), or `unknown`. What is unknown stays in
 * your table as it is, and a job calls this again with the same id.
 */
export async function take(ledger, { id, user_id, ton }) {
  try {
    await ledger.withdrawals.create({ event_id: `withdrawal:${id}`, user_id, currency: 'TON', amount: ton });
    return { state: 'taken' };
  } catch (error) {
    if (error instanceof InsufficientFundsError) return { state: 'refused', available: error.available };
    if (error.outcome === 'unknown') return { state: 'unknown' };
    throw error; // a fault of the program or its settings
  }
}

/** The chain has refused the transfer for good: gives all of it back, however often this is called. */
export async function giveBack(ledger, { id, user_id }, reason) {
  const event_id = `withdrawal-back:${id}`;
  return ledger.withdrawals.refund({ event_id, user_id, reverses: `withdrawal:${id}`, reason });
}
