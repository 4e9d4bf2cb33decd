import { BalanceClient } from '@balance-coordinator/client';
import { readonly, shallowRef } from 'vue';
import { getToken, url } from '../../shared/token.js';

export const client = new BalanceClient({ url, getToken });
client.start();

const state = shallowRef(client.current);
client.subscribe((next) => (state.value = next));
export const useBalance = () => readonly(state);

import.meta.hot?.dispose(() => client.stop({ forget: false }));
