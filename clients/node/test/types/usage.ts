// Never run: the compiler reads it, to see that the declarations fit the use.

import { createServer } from 'node:http';

import {
  AbortError,
  amount,
  type Amount,
  BalanceCoordinator,
  BalanceCoordinatorError,
  type BatchItem,
  type ClientOptions,
  type Entry,
  ExceedsOriginalError,
  InsufficientFundsError,
  mintToken,
  PostAllError,
  type PostAllSummary,
  SignatureError,
  tokenHandler,
} from '@balance-coordinator/node';

const ledger = new BalanceCoordinator<'TON' | 'UNI'>({
  url: 'http://127.0.0.1:8081',
  secret: process.env['SECRET'] ?? '',
  timeoutMs: 5_000,
  maxRetries: 3,
  fetch: globalThis.fetch,
  onRetry: ({ attempt, waitMs, error, method, path }) => console.warn(attempt * waitMs, error.code satisfies string, method, path),
});
const options: ClientOptions = { url: 'http://127.0.0.1:8081', secret: 's', maxRetries: 0 };
new BalanceCoordinator(options).feed() satisfies AsyncIterable<{ next: string }>;
// @ts-expect-error the secret is needed
new BalanceCoordinator({ url: 'http://127.0.0.1:8081' });
// @ts-expect-error no such option
new BalanceCoordinator({ url: '', secret: '', timeout: 5 });

export async function calls(signal: AbortSignal): Promise<void> {
  const deposit = await ledger.deposits.create({ tx_hash: 'ab', user_id: 184, currency: 'TON', amount: '0.1' }, { signal });
  const ton: Amount = deposit.balances.TON;
  await ledger.deposits.create({
    event_id: 'd',
    user_id: 184,
    currency: 'TON',
    amount: ton,
    occurred_at: new Date(),
    metadata: { a: [1] },
  });
  // @ts-expect-error one of event_id and tx_hash is needed
  await ledger.deposits.create({ user_id: 184, currency: 'TON', amount: '0.1' });
  // @ts-expect-error an amount is no number
  await ledger.rewards.create({ event_id: 'r', user_id: 184, currency: 'UNI', amount: 0.1 });
  // @ts-expect-error no such currency
  await ledger.rewards.create({ event_id: 'r', user_id: 184, currency: 'USD', amount: '0.1' });
  // @ts-expect-error a transaction's hash belongs to a deposit
  await ledger.rewards.create({ event_id: 'r', user_id: 184, currency: 'UNI', amount: '1', tx_hash: 'ab' });
  // @ts-expect-error an adjustment needs a reason
  await ledger.adjustments.create({ event_id: 'a', user_id: 184, currency: 'UNI', amount: '-1' });
  await ledger.withdrawals.refund({ event_id: 'b', user_id: 184, reverses: 'w' }, { timeoutMs: 1_000, maxRetries: 0, signal });

  async function* items(): AsyncGenerator<BatchItem<'TON' | 'UNI'>> {
    yield { kind: 'reward', event_id: 'r', user_id: 184, currency: 'UNI', amount: amount.from(5n, { decimals: 9 }) };
    yield { kind: 'reversal', event_id: 'v', user_id: 184, reverses: 'r' };
  }
  const summary: PostAllSummary<BatchItem> = await ledger.entries.postAll(items(), {
    concurrency: 2,
    signal,
    onProgress: ({ read }) => console.log(read),
  });
  console.log(summary.rejections[0]?.entry.user_id, summary.rejections[0]?.field, summary.unanswered.length);
  // @ts-expect-error a kind is needed
  await ledger.entries.postAll([{ event_id: 'r', user_id: 184, currency: 'UNI', amount: '1' }]);
  const { results } = await ledger.entries.postAtomic([{ kind: 'withdrawal', event_id: 'w', user_id: 184, currency: 'TON', amount: '1' }]);
  results[0]?.status satisfies 'accepted' | 'duplicate' | 'rejected' | 'not_applied' | undefined;

  const page = await ledger.entries.list(184, { limit: 20, before_version: 7 });
  const first: Entry<'TON' | 'UNI'> | undefined = page.entries[0];
  for await (const entry of ledger.entries.list(184)) console.log(entry.amount, entry.reverses, first?.kind);
  const found = await ledger.entries.find({ tx_hash: 'ab' });
  console.log(found?.left);
  // @ts-expect-error one of the two
  await ledger.entries.find({ tx_hash: 'ab', event_id: 'd' });
  // @ts-expect-error it may be null
  found.left;

  const balance = await ledger.balances.get(184, { fresh: true, min_version: 3, signal });
  console.log(balance.balances.UNI, balance.stale, balance.epoch);
  for await (const { user_id, balances } of ledger.balances.list({ limit: 1_000 })) console.log(user_id, balances.TON);
  (await ledger.balances.list({ after: 5 })).next satisfies number | null;
  (await ledger.users.put(184, { telegram_id: 5 })).telegram_id satisfies number | undefined;
  await ledger.users.put(184);
  (await ledger.tokens.create({ user_id: 184, ttl_s: 60 })).token satisfies string;
  for await (const { entries, next, epoch } of ledger.feed({ after: 'latest', wait_ms: 1_000, follow: false, signal }))
    console.log(entries[0]?.event_id, next, epoch);
}

export function told(error: unknown): string {
  if (error instanceof InsufficientFundsError) return error.available ?? '?';
  if (error instanceof ExceedsOriginalError) return error.left ?? '?';
  if (error instanceof SignatureError) return `${error.reason} ${error.clockOffsetMs ?? 0}`;
  if (error instanceof PostAllError) return `${error.summary.accepted}`;
  if (error instanceof AbortError) return error.outcome;
  if (error instanceof BalanceCoordinatorError) return error.outcome satisfies 'refused' | 'unknown';
  return '';
}

amount.add(amount.from('1', { decimals: 9, round: 'half-even' }), '0.5') satisfies Amount;
if (amount.compare('1', '2') < 0) mintToken({ secret: 's', user_id: 184 }).expires_at satisfies string;
// @ts-expect-error the decimals are needed
amount.from(0.1);
// @ts-expect-error no such rounding
amount.from(0.1, { decimals: 9, round: 'nearest' });

const handler = tokenHandler({ client: ledger, userId: (req) => (req.headers['x-user'] ? 184 : null) });
createServer((req, res) => void handler(req, res));
tokenHandler({ secret: 's', userId: async () => 184, ttl_s: 60 });
// @ts-expect-error one of client and secret
tokenHandler({ client: ledger, secret: 's', userId: () => 184 });
