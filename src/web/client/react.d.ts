import type { BalanceClient, BalanceState } from './balance-client.js';

/** The state of a client. The page starts and stops the client; the hook only looks. */
export function useBalance(client: BalanceClient): BalanceState;
