'use client';

import { useCallback, useSyncExternalStore } from 'react';

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

/**
 * The state of a client, or what `select` takes from it. The page starts and stops the client; the hook only looks. `null` for a
 * client that is not there yet.
 */
export function useBalance(client, select = whole) {
  const subscribe = client?.subscribe ?? never;
  const snapshot = client?.getSnapshot ?? unknown;
  // The selected values are compared, so `select` has to give the same for the same state.
  const selected = useCallback(() => select(snapshot()), [select, snapshot]);
  return useSyncExternalStore(subscribe, selected, () => select(UNKNOWN));
}
