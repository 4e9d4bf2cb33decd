'use client';

import { useMemo, useSyncExternalStore } from 'react';

// What a server renders, what a page starts from until it is hydrated, and what there is without a client.
const UNKNOWN = Object.freeze({
  status: 'closed',
  userId: null,
  balances: null,
  version: null,
  epoch: null,
  asOf: null,
  isStale: true,
  error: null,
  lastUpdate: null,
});
const unknown = () => UNKNOWN;
const whole = (state) => state;
const never = () => () => {};

// React wants the same value for the same state, and `select` may make an object each time.
function selectedFrom(snapshot, select) {
  let state = null;
  let selected;
  return () => {
    const now = snapshot();
    if (now !== state) [state, selected] = [now, select(now)];
    return selected;
  };
}

/**
 * The state of a client, or what `select` takes from it. The page starts and stops the client; the hook only looks. `null` for a
 * client that is not there yet.
 */
export function useBalance(client, select = whole) {
  const subscribe = client?.subscribe ?? never;
  const snapshot = client?.getSnapshot ?? unknown;
  const [selected, atFirst] = useMemo(() => [selectedFrom(snapshot, select), selectedFrom(unknown, select)], [select, snapshot]);
  return useSyncExternalStore(subscribe, selected, atFirst);
}
