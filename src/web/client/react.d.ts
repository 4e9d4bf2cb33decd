import type { DetailedHTMLProps, HTMLAttributes } from 'react';
import type { BalanceSource, BalanceState } from './balance-client.js';
import type { TonBalance } from './element.js';

/**
 * The state of a client, or what `select` takes from it: the component is rendered again when that changes (by
 * `Object.is`), so one that makes a new object renders with every state. The page starts and stops the client; the hook only looks.
 */
export function useBalance<Currency extends string = string>(
  client: BalanceSource<Currency> | null | undefined,
): BalanceState<Currency>;
export function useBalance<Currency extends string, Selected>(
  client: BalanceSource<Currency> | null | undefined,
  select: (state: BalanceState<Currency>) => Selected,
): Selected;

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'ton-balance': DetailedHTMLProps<HTMLAttributes<TonBalance>, TonBalance> & {
        currency?: string | undefined;
        locale?: string | undefined;
        'min-decimals'?: number | string | undefined;
        'max-decimals'?: number | string | undefined;
        url?: string | undefined;
        client?: BalanceSource | null | undefined;
      };
    }
  }
}
