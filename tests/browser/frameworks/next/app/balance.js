'use client';

import { BalanceClient } from '@balance-coordinator/client';
import { getToken, url } from '../../shared/token.js';

// On the server too, where `start()` does nothing.
export const client = new BalanceClient({ url, getToken });
client.start();
