// The user service: signs a user in, hands out tokens for the browser library, and answers pages that can't hold a WebSocket.

import { createServer } from 'node:http';

import { tokenHandler } from '@balance-coordinator/node';

/** `signedIn(req)` is your own session: the user's id, or null. */
export function userService(ledger, signedIn) {
  // The browser library's `getToken` fetches from here. With Express: app.post('/my/balance-token', tokenHandler(…)).
  const token = tokenHandler({ client: ledger, userId: signedIn });

  return createServer(async (req, res) => {
    try {
      if (req.method === 'POST' && req.url === '/my/balance-token') return await token(req, res);
      if (req.method === 'GET' && req.url === '/my/balance') return await balance(ledger, await signedIn(req), res);
      return res.writeHead(404).end();
    } catch (error) {
      console.error(error);
      return res.headersSent ? res.destroy() : res.writeHead(error.isTransient ? 503 : 500).end();
    }
  });
}

/** After a sign-up: the user exists from the first day, with a zero of each currency. */
export async function signUp(ledger, user_id, telegram_id) {
  return ledger.users.put(user_id, { telegram_id });
}

async function balance(ledger, user_id, res) {
  if (user_id === null) return res.writeHead(401).end();
  const { balances, version, stale } = await ledger.balances.get(user_id);
  return res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ balances, version, stale }));
}
