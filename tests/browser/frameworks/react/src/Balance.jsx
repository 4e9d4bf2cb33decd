import { format } from '@balance-coordinator/client';
import { useBalance } from '@balance-coordinator/client/react';
import { client } from './balance.js';

export function Balance() {
  const { balances, isStale, status } = useBalance(client);
  if (!balances) return <p id="balance">{status === 'unauthorized' ? 'Sign in' : '…'}</p>;
  return (
    <p id="balance" className={isStale ? 'stale' : ''}>
      {format(balances.TON, { locale: 'en', maxDecimals: 2 })} TON
    </p>
  );
}
