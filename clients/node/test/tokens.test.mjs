import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'node:test';

import { BalanceCoordinator, mintToken, tokenHandler } from '@balance-coordinator/node';
import { Fake, ok, problem, withoutJitter } from './support/fake.mjs';
import { SECRET, Service, SESSION_SECRET, withService } from './support/service.mjs';

const balanceOf = async (service, token) => {
  const response = await fetch(`${service.publicUrl}/api/v1/balance`, { headers: { authorization: `Bearer ${token}` } });
  return response.ok ? (await response.json()).user_id : response.status;
};

/** A server with one handler, as Express calls it. Gives back what it answers to a user. */
async function served(t, handler) {
  const errors = [];
  const server = createServer((req, res) => {
    handler(req, res, (error) => {
      errors.push(error);
      res.writeHead(418).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const ask = async (user) => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}/`, { method: 'POST', headers: user ? { user } : {} });
    const text = await response.text();
    return { status: response.status, headers: response.headers, json: text ? JSON.parse(text) : null };
  };
  return { ask, errors };
}

const userId = async (req) => (req.headers.user ? Number(req.headers.user) : null);

test('tokens made by the service and tokens made here open the same door', withService, async (t) => {
  const service = await Service.start(t);
  const made = await service.client().tokens.create({ user_id: 184, ttl_s: 60 });
  assert.equal(await balanceOf(service, made.token), 184);
  const minted = mintToken({ secret: SESSION_SECRET, user_id: 185, ttl_s: 60 });
  assert.equal(await balanceOf(service, minted.token), 185);
  const leftMs = Date.parse(minted.expires_at) - Date.now();
  assert.ok(leftMs > 0 && leftMs <= 60_000, minted.expires_at);
  assert.equal(await balanceOf(service, mintToken({ secret: `${SESSION_SECRET}!`, user_id: 185 }).token), 401);
});

test('the user may stand in another claim', withService, async (t) => {
  const service = await Service.start(t, { auth: 'session_user_claim = "uid"' });
  assert.equal(await balanceOf(service, mintToken({ secret: SESSION_SECRET, user_id: 9, user_claim: 'uid' }).token), 9);
  assert.equal(await balanceOf(service, mintToken({ secret: SESSION_SECRET, user_id: 9 }).token), 401);
});

test('no token is made for what is no user', () => {
  for (const wrong of [
    { user_id: '184' },
    { user_id: 0 },
    { user_id: 2 ** 53 },
    {},
    { user_id: 1, ttl_s: 0 },
    { user_id: 1, ttl_s: '60' },
    { user_id: 1, user_claim: 'exp' },
    { user_id: 1, secret: 'short' },
  ]) {
    assert.throws(() => mintToken({ secret: SESSION_SECRET, ...wrong }), TypeError, JSON.stringify(wrong));
  }
});

test('the handler answers with a token of the signed-in user, and 401 without one', withService, async (t) => {
  const service = await Service.start(t);
  for (const way of [{ client: service.client() }, { secret: SESSION_SECRET }]) {
    const { ask } = await served(t, tokenHandler({ userId, ...way }));
    const answer = await ask('184');
    assert.deepEqual(
      [answer.status, answer.headers.get('cache-control'), answer.headers.get('content-type')],
      [200, 'no-store', 'application/json'],
    );
    assert.deepEqual(Object.keys(answer.json).sort(), ['expires_at', 'token']);
    assert.equal(await balanceOf(service, answer.json.token), 184);
    assert.equal((await ask(null)).status, 401);
  }
});

test('the handler says when to come back, and leaves what is its server’s to its server', async (t) => {
  withoutJitter(t);
  const busy = await Fake.start(t, problem(503, 'overloaded'));
  const { ask } = await served(t, tokenHandler({ userId, client: busy.client({ maxRetries: 1 }) }));
  const answer = await ask('184');
  assert.deepEqual([answer.status, answer.headers.get('retry-after'), answer.json], [503, '1', { code: 'overloaded' }]);

  const faulty = await served(
    t,
    tokenHandler({
      userId: () => {
        throw new Error('no session store');
      },
      secret: SESSION_SECRET,
    }),
  );
  assert.equal((await faulty.ask('184')).status, 418);
  assert.equal(faulty.errors[0].message, 'no session store');
  const wrong = await Fake.start(t, problem(401, 'invalid_signature'));
  const misconfigured = await served(t, tokenHandler({ userId, client: wrong.client() }));
  assert.equal((await misconfigured.ask('184')).status, 418);
  assert.equal(misconfigured.errors[0].reason, 'secret');

  const fine = await Fake.start(t, ok({ token: 't', expires_at: '' }));
  const handler = tokenHandler({ userId, client: fine.client(), ttl_s: 60 });
  const alone = await served(t, (req, res) => handler(req, res));
  assert.equal((await alone.ask('184')).json.token, 't');
  assert.deepEqual(fine.requests[0].json, { user_id: 184, ttl_s: 60 });
});

test('a handler that can’t work is refused when it is made', () => {
  const client = new BalanceCoordinator({ url: 'http://127.0.0.1:1', secret: SECRET });
  for (const options of [
    undefined,
    { client },
    { userId },
    { userId, client, secret: SESSION_SECRET },
    { userId, secret: 'short' },
    { userId, secret: SESSION_SECRET, ttl_s: -1 },
  ]) {
    assert.throws(() => tokenHandler(options), TypeError);
  }
});
