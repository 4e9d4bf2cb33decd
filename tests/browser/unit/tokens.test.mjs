import assert from 'node:assert/strict';
import test from 'node:test';
import { TON, USER, World } from './support/world.mjs';

test('a fresh token is sent before the old one expires, without a reconnect', async (t) => {
  const world = new World(t);
  const client = await world.live({ ttlMs: 600_000 });
  await world.advance(539_000);
  assert.equal(world.server.sent('auth').length, 1);
  await world.advance(2_000);
  assert.equal(world.server.sent('auth').length, 2);
  await world.advance(3_600_000);
  assert.equal(world.server.sockets.length, 1);
  assert.equal(client.current.status, 'live');
});

test('a token that lives for a moment only is renewed in time', async (t) => {
  const world = new World(t);
  const client = await world.live({ ttlMs: 10_000 });
  await world.advance(60_000);
  assert.equal(world.server.sockets.length, 1);
  assert.ok(world.server.sent('auth').length < 20);
  assert.equal(client.current.status, 'live');
});

test('a token without an end is asked for only to connect', async (t) => {
  const world = new World(t);
  let calls = 0;
  world.server.isGood = () => true;
  const payload = Buffer.from(JSON.stringify({ sub: String(USER) })).toString('base64url');
  const client = await world.live({ getToken: async () => (calls += 1) && `x.${payload}.y` });
  await world.advance(3_600_000);
  assert.deepEqual([calls, client.current.status], [1, 'live']);
});

test('a token that lives for years sets no timer that fires at once', async (t) => {
  const world = new World(t);
  let calls = 0;
  await world.live({ getToken: () => (calls += 1) && world.token(USER, 10 * 365 * 86_400_000) });
  await world.advance(3_600_000);
  assert.equal(calls, 1);
});

test('a renewal that fails is tried again while the old token is good', async (t) => {
  const world = new World(t);
  let isBroken = false;
  const getToken = async () => {
    if (isBroken) throw new Error('no network');
    return world.token(USER, 600_000);
  };
  const client = await world.live({ getToken });
  isBroken = true;
  await world.advance(560_000);
  assert.equal(client.current.status, 'live');
  isBroken = false;
  await world.advance(10_000);
  assert.equal(world.server.sent('auth').length, 2);
  assert.equal(world.server.sockets.length, 1);
});

test('a token is kept for the next connection as long as it is good', async (t) => {
  const world = new World(t);
  let calls = 0;
  const client = await world.live({ getToken: () => (calls += 1) && world.token() });
  for (let cut = 0; cut < 3; cut += 1) {
    world.server.closeAll(1001, 'going_away');
    await world.advance(5_000);
  }
  assert.deepEqual([calls, client.current.status], [1, 'live']);
});

test('4501 fetches a token once more, and then the client is unauthorized', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  let calls = 0;
  const good = world.server.isGood.bind(world.server);
  const client = await world.live({ getToken: () => (calls += 1) && world.token() });
  world.server.refused.add(world.server.messages[0].token);
  world.server.closeAll(4501, 'token_expired');
  await world.advance(100);
  assert.deepEqual([calls, client.current.status, client.current.isStale], [2, 'live', false]);
  await world.advance(10_000);
  world.server.isGood = () => false;
  world.server.closeAll(4501, 'token_expired');
  await world.advance(60_000);
  const { status, error, balances, isStale } = client.current;
  assert.deepEqual([calls, status, error.code, balances.TON, isStale], [3, 'unauthorized', 'unauthenticated', '1.000000000', true]);
  const { length } = world.server.sockets;
  client.tab.show();
  await world.advance(600_000);
  assert.deepEqual([calls, world.server.sockets.length], [3, length]);
  world.server.isGood = good;
  client.start();
  await world.advance(100);
  assert.deepEqual([client.current.status, client.current.error], ['live', null]);
});

test('a service that takes tokens and refuses them in a circle is not run over', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await world.live();
  const until = world.clock.nowMs + 60_000;
  while (world.clock.nowMs < until) {
    world.server.closeAll(4501, 'token_expired');
    await world.advance(50);
  }
  assert.ok(world.server.sockets.length <= 12, `${world.server.sockets.length} connections in a minute`);
  await world.advance(30_000);
  assert.equal(client.current.status, 'live');
});

test('nobody signed in is unauthorized and clears what was shown', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  let isSignedIn = true;
  const client = await world.live({ getToken: () => (isSignedIn ? world.token(USER, 60_000) : null) });
  isSignedIn = false;
  await world.advance(60_000);
  const { status, error, balances } = client.current;
  assert.deepEqual([status, error.code, balances], ['unauthorized', 'signed_out', null]);
  assert.equal(world.server.openSockets.length, 0);
});

test('a page that stops the client while it is signed out stays stopped', async (t) => {
  const world = new World(t);
  let isSignedIn = true;
  const client = await world.live({ getToken: () => (isSignedIn ? world.token(USER, 60_000) : null) });
  client.subscribe(({ balances }) => balances || client.stop());
  isSignedIn = false;
  await world.advance(60_000);
  assert.deepEqual([client.current.status, client.current.error], ['closed', null]);
});

test('a token that can not be fetched is tried again with back-off', async (t) => {
  const world = new World(t);
  let calls = 0;
  const getToken = () => {
    calls += 1;
    if (calls < 4) throw new Error('sign-in is away');
    return world.token();
  };
  const client = world.client({ getToken });
  client.start();
  await world.advance(1);
  const { status, error } = client.current;
  assert.deepEqual([status, error.code, error.message], ['offline', 'token_failed', 'sign-in is away']);
  await world.advance(10_000);
  assert.deepEqual([calls, client.current.status], [4, 'live']);
});

test('a token that never comes is given up and asked for again', async (t) => {
  const world = new World(t);
  let calls = 0;
  const getToken = () => ((calls += 1) === 1 ? new Promise(() => {}) : world.token());
  const client = world.client({ getToken });
  client.start();
  await world.advance(10_000);
  assert.equal(client.current.error.code, 'timeout');
  await world.advance(1_000);
  assert.equal(client.current.status, 'live');
});

test('a token that comes after stop opens nothing', async (t) => {
  const world = new World(t);
  const given = [];
  const client = world.client({ getToken: () => new Promise((resolve) => given.push(resolve)) });
  client.start();
  await world.advance(10);
  client.stop();
  client.start();
  await world.advance(10);
  given[0](world.token(185));
  await world.advance(100);
  assert.equal(world.server.sent('auth').length, 0);
  given[1](world.token(USER));
  await world.advance(100);
  assert.deepEqual([world.server.sent('auth').length, world.server.openSockets.length, client.current.userId], [1, 1, USER]);
});

test('a clock that runs hours ahead does not ask for token after token', async (t) => {
  const world = new World(t);
  let calls = 0;
  const trueNow = () => world.clock.wallMs - 7_200_000;
  const getToken = () => (calls += 1) && world.token(USER, -7_200_000 + 3_600_000);
  world.server.isGood = (text) => JSON.parse(Buffer.from(text.split('.')[1], 'base64url')).exp * 1000 > trueNow();
  const client = await world.live({ getToken });
  await world.advance(600_000);
  assert.deepEqual([calls, client.current.status], [1, 'live']);
});

test('Telegram init data is sent as it is, over the socket and over HTTP', async (t) => {
  const world = new World(t);
  const initData = `user=${encodeURIComponent(JSON.stringify({ id: 7 }))}&auth_date=1&hash=ab`;
  world.server.initDataUsers.set(initData, USER);
  const client = await world.live({ getInitData: () => initData });
  const { socket, ...auth } = world.server.messages[0];
  assert.deepEqual(auth, { type: 'auth', init_data: initData });
  assert.equal(client.current.userId, USER);
  world.server.isWsBlocked = true;
  client.tab.fire('offline');
  await Promise.all([client.refresh(), world.advance(100)]);
  assert.equal(world.server.requests[0].headers.authorization, `tma ${initData}`);
});
