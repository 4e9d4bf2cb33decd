// Never run: the compiler reads it, to see that the declarations fit the use that the documentation shows.

import { add, BalanceClient, BalanceError, type BalanceState, compare, format } from '@balance-coordinator/client';
import { define, TonBalance } from '@balance-coordinator/client/element';
import { useBalance } from '@balance-coordinator/client/react';

const client = new BalanceClient({
  url: 'https://balance.example.org',
  getToken: async () => (await fetch('/token', { method: 'POST' })).text(),
  storage: localStorage,
  userId: 184,
});
new BalanceClient({ getInitData: () => 'query_id=1&hash=ab', share: false });
// @ts-expect-error one source of credentials is needed
new BalanceClient({ url: 'https://balance.example.org' });
// @ts-expect-error and not two
new BalanceClient({ getToken: () => 't', getInitData: () => 'i' });

const unsubscribe: () => void = client.subscribe((state: BalanceState) => {
  const amount: string | undefined = state.balances?.TON;
  if (amount !== undefined && compare(amount, '0') > 0) format(add(amount, '0.1'), { locale: 'ru', minDecimals: 2, maxDecimals: 4 });
  // @ts-expect-error an amount is no number
  format(0.1);
  // @ts-expect-error the state is not the page's to change
  state.version = 7;
  switch (state.status) {
    case 'connecting':
    case 'live':
    case 'offline':
    case 'unauthorized':
    case 'closed':
      break;
    default:
      state.status satisfies never;
  }
});

client.start();
const state: BalanceState = await client.refresh();
await client.read();
await client.waitFor(state.version ?? 0, { timeoutMs: 1_000, signal: new AbortController().signal }).catch((error: unknown) => {
  if (error instanceof BalanceError) console.log(error.code);
});
client.stop({ forget: false });
unsubscribe();

export function Balance() {
  const { balances, isStale, lastUpdate } = useBalance(client);
  return `${balances?.TON ?? '…'} ${isStale} ${lastUpdate?.changes.TON ?? ''}`;
}

define();
define('my-balance');
TonBalance.client = client;
const element = new TonBalance();
element.client = client;
element.client = null;
