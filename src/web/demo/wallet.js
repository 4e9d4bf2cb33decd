// The wallet: pays on the imitated TON chain, and asks how far the deposit has come until it is in the ledger.

import { fine } from './times.js';

const ASK_EVERY_MS = 100;
const PATIENCE_MS = 30_000;

/**
 * Pays `amount` for a user. `told` gets what is known, each time that it was asked: how many milliseconds after `beganMs` the
 * transfer was final, was read by the watcher, and was committed, and the version that it made.
 */
export async function pay({ user_id, amount }, beganMs, told) {
  const paid = await ask('/dev/v1/chain', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user_id, amount }),
  });
  // The service's clock need not be the page's: the way there is half of the way there and back.
  const paidMs = (performance.now() - beganMs) / 2;
  const since = (at) => (at ? paidMs + fine(at) - fine(paid.paid_at) : undefined);
  while (performance.now() - beganMs < PATIENCE_MS) {
    const { final_at, read_at, entry } = await ask(`/dev/v1/chain?tx_hash=${paid.tx_hash}`);
    told({ finalMs: since(final_at), readMs: since(read_at), committedMs: since(entry?.committed_at), version: entry?.version });
    if (entry) return;
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  throw new Error('not in the ledger in time');
}

async function ask(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}
