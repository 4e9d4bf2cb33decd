'use client';

import { format } from '@balance-coordinator/client';
import { useBalance } from '@balance-coordinator/client/react';
import { client } from './balance.js';

export function Balance() {
  const { amount, status } = useBalance(client, ({ balances, status }) => ({ amount: balances?.TON, status }));
  return (
    <>
      <p id="balance">{amount ? `${format(amount, { locale: 'en', maxDecimals: 2 })} TON` : status === 'unauthorized' ? 'Sign in' : '…'}</p>
      <button id="sign-out" onClick={() => client.stop()}>Sign out</button>
    </>
  );
}
