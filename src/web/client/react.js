import { useSyncExternalStore } from 'react';

// What a server renders, and what a page starts from until it is hydrated.
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

/** The state of a client. The page starts and stops the client; the hook only looks. */
export function useBalance(client) {
  return useSyncExternalStore(client.subscribe, client.getSnapshot, () => UNKNOWN);
}
