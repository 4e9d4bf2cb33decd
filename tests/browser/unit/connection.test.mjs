import assert from 'node:assert/strict';
import test from 'node:test';
import { BalanceClient } from '../../../src/web/client/balance-client.js';
import { MemoryStorage } from './support/browser.mjs';
import { TON, USER, World } from './support/world.mjs';

test('the first balance arrives unasked, and until then there is none', async (t) => {
  const world = new World(t);
  world.server.commit(USER, 2 * TON);
  const client = world.client();
  assert.equal(client.current.status, 'closed');
  client.start();
  assert.deepEqual([client.current.status, client.current.balances], ['connecting', null]);
  await world.advance(100);
  const { status, balances, version, epoch, isStale, userId } = client.current;
  assert.deepEqual({ status, balances, version, epoch, isStale, userId }, {
    status: 'live', balances: { TON: '2.000000000' }, version: 1, epoch: 'e1', isStale: false, userId: USER,
  });
});

test('the token is the first message and never in the URL', async (t) => {
  const world = new World(t);
  const client = await world.live();
  const [socket] = world.server.sockets;
  assert.equal(socket.url, 'wss://balance.example/ws');
  assert.equal(socket.protocol, 'balance.v1');
  assert.equal(world.server.messages[0].type, 'auth');
  assert.match(world.server.messages[0].token, /^ey/);
  assert.equal(client.current.status, 'live');
});

test('the address may be that of the service, of its socket, or relative', (t) => {
  const world = new World(t);
  const { env } = world.browser.tab();
  for (const [url, expected] of [
    ['https://b.example', 'wss://b.example/ws'],
    ['https://b.example/', 'wss://b.example/ws'],
    ['wss://b.example/ws', 'wss://b.example/ws'],
    ['http://127.0.0.1:8080/wallet', 'ws://127.0.0.1:8080/wallet/ws'],
    ['/wallet/', 'wss://app.example/wallet/ws'],
    [undefined, 'wss://app.example/ws'],
  ]) {
    const client = new BalanceClient({ url, env, share: false, getToken: () => world.token() });
    client.start();
    t.after(() => client.stop());
    world.server.expected = [...(world.server.expected ?? []), expected];
  }
  return world.advance(100).then(() => assert.deepEqual(world.server.sockets.map(({ url }) => url), world.server.expected));
});

test('a client needs exactly one source of credentials, and each option as what it is', () => {
  const refused = { name: 'BalanceError', code: 'invalid_options', isFinal: true };
  const getToken = () => null;
  for (const options of [
    { getToken: 'a.b.c' },
    { getInitData: 'query_id=1' }, // `Telegram.WebApp.initData`, not a function of it
    { getToken, storage: true },
    { getToken, storage: 'localStorage' },
    { getToken, userId: '184' },
    { getToken, userId: NaN },
  ]) {
    assert.throws(() => new BalanceClient({ url: 'https://b.example', ...options }), refused, JSON.stringify(options));
  }
  for (const options of [{ storage: null, userId: null, getInitData: null }, { storage: new MemoryStorage(), userId: 184, url: new URL('https://b.example') }]) {
    assert.doesNotThrow(() => new BalanceClient({ url: 'https://b.example', getToken, ...options }));
  }
  assert.throws(() => new BalanceClient({ url: 'https://b.example' }), refused);
  assert.throws(() => new BalanceClient({ url: 'https://b.example', getToken() {}, getInitData() {} }), refused);
  assert.throws(() => new BalanceClient(), refused);
});

test('two starts make one connection', async (t) => {
  const world = new World(t);
  const client = world.client();
  client.start();
  client.start();
  await world.advance(100);
  client.start();
  await world.advance(100);
  assert.equal(world.server.sockets.length, 1);
});

test('the back-off is fully random and grows from 500 ms to 20 s', async (t) => {
  const world = new World(t, { random: () => 1 });
  world.server.isDown = true;
  const client = world.client();
  client.start();
  const waits = [];
  for (let attempt = 0; attempt < 9; attempt += 1) {
    const { length } = world.server.sockets;
    let waitedMs = 0;
    while (world.server.sockets.length === length && waitedMs < 30_000) {
      await world.advance(10);
      waitedMs += 10;
    }
    waits.push(waitedMs);
  }
  // A connection takes a while to fail, and a step of this loop 10 ms.
  const expected = [10, 500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000];
  waits.forEach((wait, n) => assert.ok(wait >= expected[n] && wait <= expected[n] + 30, `${n}: ${wait}`));
  assert.equal(client.current.status, 'offline');
});

test('a random wait may be nearly nothing', async (t) => {
  const world = new World(t, { random: () => 0 });
  const client = await world.live();
  world.server.closeAll(1001, 'going_away');
  await world.advance(50);
  assert.equal(client.current.status, 'live');
  assert.equal(world.server.sockets.length, 2);
});

test('a connection that has lived for a while ends the back-off, a short one does not', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await world.live();
  for (let cut = 0; cut < 4; cut += 1) {
    world.server.closeAll(1001, 'going_away');
    await world.advance(500 * 2 ** cut + 100);
    assert.equal(client.current.status, 'live', `after cut ${cut}`);
  }
  await world.advance(10_000);
  world.server.closeAll(1001, 'going_away');
  await world.advance(600);
  assert.equal(client.current.status, 'live');
});

test('codes below 4500 come back, those from 4500 do not', async (t) => {
  for (const code of [1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011, 1012, 1013, 4408, 4429, 4499]) {
    const world = new World(t);
    const client = await world.live();
    world.server.closeAll(code, '');
    await world.advance(10);
    assert.deepEqual([client.current.status, client.current.isStale], ['offline', true], `${code}`);
    await world.advance(1_000);
    assert.equal(client.current.status, 'live', `${code}`);
    t.mock.restoreAll();
  }
  for (const [code, reason] of [[4500, 'bad_messages'], [4509, 'too_many_sessions'], [4510, 'closed_by_administrator'], [4999, '']]) {
    const world = new World(t);
    world.server.commit(USER, TON);
    const client = await world.live();
    world.server.closeAll(code, reason);
    await world.advance(120_000);
    client.tab.fire('online');
    client.tab.show();
    await world.advance(120_000);
    assert.equal(world.server.sockets.length, 1, `${code}`);
    assert.equal(client.current.status, 'closed');
    assert.equal(client.current.error.code, reason || 'connection_lost');
    assert.deepEqual([client.current.balances.TON, client.current.isStale], ['1.000000000', true]);
    t.mock.restoreAll();
  }
});

test('a client that the service sent away comes back with start or refresh', async (t) => {
  const world = new World(t);
  const client = await world.live();
  world.server.closeAll(4510, 'closed_by_administrator');
  await world.advance(100);
  client.start();
  await world.advance(100);
  assert.deepEqual([client.current.status, client.current.error], ['live', null]);
  world.server.closeAll(4509, 'too_many_sessions');
  await world.advance(100);
  client.refresh();
  await world.advance(100);
  assert.equal(client.current.status, 'live');
});

test('a service that never answers is left and tried again', async (t) => {
  const world = new World(t);
  world.server.isMute = true;
  const client = world.client();
  client.start();
  await world.advance(10_100);
  assert.equal(client.current.status, 'offline');
  assert.equal(client.current.error.code, 'timeout');
  world.server.isMute = false;
  await world.advance(1_000);
  assert.equal(client.current.status, 'live');
  assert.equal(world.server.openSockets.length, 1);
});

test('events of an old socket change nothing', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.live();
  const [old] = world.server.sockets;
  const { onmessage, onclose } = old;
  client.tab.fire('offline');
  client.tab.fire('online');
  await world.advance(100);
  const before = client.current;
  assert.equal(before.status, 'live');
  onmessage({ data: JSON.stringify({ ...world.server.update(USER, TON), version: 99 }) });
  onclose({ code: 4510, reason: 'closed_by_administrator' });
  assert.equal(client.current, before);
});

test('a socket that the browser forbids is no matter of waiting, and refresh() tries again', async (t) => {
  const world = new World(t);
  const tab = world.browser.tab({ hasLocks: false });
  const Real = tab.env.WebSocket;
  tab.env.WebSocket = class {
    constructor() {
      throw new DOMException('mixed content', 'SecurityError');
    }
  };
  const client = await world.live({ tab });
  const { status, error } = client.current;
  assert.deepEqual([status, error.code, error.cause.name, error.isFinal], ['misconfigured', 'invalid_url', 'SecurityError', true]);
  tab.env.WebSocket = Real;
  await world.advance(60_000);
  assert.equal(client.current.status, 'misconfigured');
  await Promise.all([client.refresh(), world.advance(3_000)]);
  assert.equal(client.current.status, 'live');
});

test('Retry-After and retry_after_ms are waited for, even by a page that wakes', async (t) => {
  const world = new World(t, { random: () => 0 });
  const client = await world.live();
  world.server.isWsBlocked = true;
  world.server.retryAfter = '30';
  world.server.closeAll(1013, 'overloaded');
  await world.advance(200);
  const { length } = world.server.sockets;
  assert.ok(length >= 2);
  world.server.isWsBlocked = false;
  client.tab.show();
  await world.advance(29_000);
  assert.equal(world.server.sockets.length, length);
  world.server.retryAfter = null;
  await world.advance(2_000);
  assert.equal(client.current.status, 'live');
  world.server.isLedgerAway = 'unknown';
  const [session] = world.server.sessions;
  session.tell({ type: 'error', code: 'overloaded', message: 'later', retry_after_ms: 5_000 });
  await world.advance(20);
  session.end(1013, 'overloaded');
  await world.advance(4_900);
  assert.equal(client.current.status, 'offline');
});

test('stop closes the connection, clears the balance and leaves no timer', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.live();
  client.stop();
  const { status, balances, version, userId, error } = client.current;
  assert.deepEqual({ status, balances, version, userId, error }, { status: 'closed', balances: null, version: null, userId: null, error: null });
  await world.advance(100);
  assert.equal(world.server.openSockets.length, 0);
  assert.equal(world.clock.pendingCount, 0);
  client.tab.show();
  client.tab.fire('online');
  assert.equal(client.tab.telegram.size, 0);
  await world.advance(60_000);
  assert.equal(world.server.sockets.length, 1);
});
