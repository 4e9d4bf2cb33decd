// Never run: the compiler reads it, to see that the declarations fit the use that the documentation shows.

import { add, BalanceClient, BalanceError, type BalanceErrorCode, type BalanceState, compare, format } from '@balance-coordinator/client';
import { define, TonBalance } from '@balance-coordinator/client/element';
import { useBalance } from '@balance-coordinator/client/react';
import { fakeBalance } from '@balance-coordinator/client/testing';

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
    case 'misconfigured':
    case 'closed':
      break;
    default:
      state.status satisfies never;
  }
});

client.start();
const state: BalanceState = await client.refresh({ timeoutMs: 500 });
await client.read({ signal: new AbortController().signal });
await client.waitFor(state.version ?? 0, { timeoutMs: 1_000, signal: new AbortController().signal }).catch((error: unknown) => {
  if (!(error instanceof BalanceError)) return;
  const code: BalanceErrorCode = error.code;
  // @ts-expect-error no such code
  if (code === 'no_such_code') console.log(error.isFinal, error.cause);
});
client.stop({ forget: false });
unsubscribe();

client.onConnection((event) => {
  if (event.type === 'lost') console.log(event.closeCode, event.reason, event.code satisfies BalanceErrorCode);
});

export function Balance() {
  const { balances, isStale, lastUpdate } = useBalance(client);
  const ton: string | undefined = useBalance(client, (state) => state.balances?.TON);
  const none: BalanceState = useBalance(null);
  return (
    <p title={`${balances?.TON ?? '…'} ${isStale} ${lastUpdate?.changes.TON ?? ''} ${ton} ${none.status}`}>
      <ton-balance currency="TON" max-decimals={2} client={client} className="big" />
    </p>
  );
}

// With the currencies that the service has, no amount is possibly undefined.
const typed = new BalanceClient<'TON' | 'UNI'>({ url: '/', getToken: () => null, debug: true });
typed.subscribe(({ balances, lastUpdate }) => {
  const amount: string | undefined = balances?.TON;
  const sure: string = balances ? balances.UNI : '0';
  const change: string | undefined = lastUpdate?.changes.TON;
  // @ts-expect-error no such currency
  console.log(amount, sure, change, balances?.USD);
});
const fake = fakeBalance<'TON'>({ balances: { TON: '1.5' } });
fake.set({ isStale: true });
useBalance(fake, ({ balances }) => balances?.TON) satisfies string | undefined;

define();
define('my-balance');
TonBalance.client = client;
TonBalance.client = fake;
const element = document.createElement('ton-balance');
element satisfies TonBalance;
element.client = client;
element.client = null;
