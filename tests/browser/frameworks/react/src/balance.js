// The client in a file of its own: a fast refresh of a component does not make another one.
import { BalanceClient } from '@balance-coordinator/client';
import { getToken, url } from '../../shared/token.js';

export const client = new BalanceClient({ url, getToken });
client.start();

import.meta.hot?.dispose(() => client.stop({ forget: false }));
