// The scheduler: pays each farmer's reward of a period.
//
// The event id names the user and the period. So a period that is paid again (after a crash, or by two schedulers) is paid once.

import { amount } from '@balance-coordinator/node';

/**
 * `farmers` is any (async) iterable of `{ user_id, uni_per_period }`, such as a database's cursor. Throws a PostAllError when the
 * service can't be reached for long: then pay the same period again.
 */
export async function payPeriod(ledger, farmers, period, { signal } = {}) {
  async function* rewards() {
    for await (const { user_id, uni_per_period } of farmers) {
      yield {
        kind: 'reward',
        event_id: `farm:${user_id}:${period}`,
        user_id,
        currency: 'UNI',
        amount: amount.from(uni_per_period, { decimals: 9, round: 'down' }),
        source: 'farming',
      };
    }
  }
  const summary = await ledger.entries.postAll(rewards(), { signal });
  for (const { event_id, code, field } of summary.rejections) console.error(`not paid: ${event_id}: ${code} ${field ?? ''}`);
  return summary;
}
