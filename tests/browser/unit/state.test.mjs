import assert from 'node:assert/strict';
import test from 'node:test';
import { TON, USER, World } from './support/world.mjs';

test('a snapshot is the same object until something changes', async (t) => {
  const world = new World(t);
  const client = await world.live();
  const { getSnapshot, subscribe } = client;
  const before = getSnapshot();
  await world.advance(30_000); // a ping and its pong
  assert.equal(getSnapshot(), before);
  assert.equal(client.current, before);
  assert.ok(Object.isFrozen(before));
  let calls = 0;
  const unsubscribe = subscribe(() => (calls += 1));
  world.server.commit(USER, TON);
  await world.advance(20);
  assert.notEqual(getSnapshot(), before);
  assert.equal(calls, 1);
  unsubscribe();
  unsubscribe();
  world.server.commit(USER, TON);
  await world.advance(20);
  assert.equal(calls, 1);
});

test('one function subscribed twice is called twice and leaves one by one', async (t) => {
  const world = new World(t);
  const client = await world.live();
  let calls = 0;
  const listener = () => (calls += 1);
  const leave = client.subscribe(listener);
  client.subscribe(listener);
  leave();
  world.server.commit(USER, TON);
  await world.advance(20);
  assert.equal(calls, 1);
});

test('a listener that throws hurts neither the others nor the client', async (t) => {
  const world = new World(t);
  const client = world.client();
  client.subscribe(() => {
    throw new Error('mine');
  });
  let last;
  client.subscribe((state) => (last = state));
  client.start();
  await world.advance(100);
  assert.equal(last.status, 'live');
  assert.ok(client.tab.errors.length > 0 && client.tab.errors.every(({ message }) => message === 'mine'));
});

test('a listener may stop the client at any state', async (t) => {
  for (const when of ['connecting', 'live', 'offline', 'unauthorized', 'closed']) {
    const world = new World(t);
    world.server.commit(USER, TON);
    const client = world.client({ storage: undefined });
    client.subscribe(({ status }) => status === when && client.stop());
    client.start();
    await world.advance(100);
    if (when === 'closed') world.server.closeAll(4510, '');
    if (when === 'unauthorized') world.server.userOf = () => undefined;
    world.server.closeAll(when === 'unauthorized' ? 4501 : 1001, '');
    await world.advance(30_000);
    assert.deepEqual([client.current.status, client.current.balances], ['closed', null], when);
    await world.advance(60_000);
    assert.equal(world.server.openSockets.length, 0, when);
    assert.equal(world.clock.pendingCount, 0, when);
    assert.equal(client.tab.errors.length, 0, when);
    t.mock.restoreAll();
  }
});

test('a push tells what changed', async (t) => {
  const world = new World(t);
  const client = await world.live();
  assert.equal(client.current.lastUpdate, null);
  world.server.commit(USER, TON / 10);
  await world.advance(20);
  const { version, changes, sources, entries, mode, committedAt } = client.current.lastUpdate;
  assert.deepEqual({ version, changes, sources, entries, mode }, {
    version: 1, changes: { TON: '0.100000000' }, sources: ['deposit'], entries: 1, mode: 'direct',
  });
  assert.ok(Date.parse(committedAt) > 0);
});

test('refresh asks the ledger over the connection and resolves with the state', async (t) => {
  const world = new World(t);
  const client = await world.live();
  world.server.commit(USER, TON, { push: false });
  const [state] = await Promise.all([client.refresh(), world.advance(100)]);
  assert.equal(state.version, 1);
  assert.equal(state, client.current);
  assert.equal(world.server.sent('refresh').length, 1);
  assert.equal(world.server.requests.length, 0);
});

test('a refresh begins after it was called, and many at once share one', async (t) => {
  const world = new World(t);
  const client = await world.live();
  const first = client.refresh();
  await world.advance(7); // its answer is decided
  world.server.commit(USER, TON, { push: false });
  const others = Array.from({ length: 50 }, () => client.refresh());
  await world.advance(100);
  assert.equal((await first).version, 0);
  for (const state of await Promise.all(others)) assert.equal(state.version, 1);
  assert.equal(world.server.sent('refresh').length, 2);
});

test('a refresh without a connection goes over HTTP and reconnects', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await world.live();
  world.server.isWsBlocked = true;
  world.server.closeAll(1001, 'going_away');
  await world.advance(10);
  world.server.commit(USER, TON);
  const [state] = await Promise.all([client.refresh(), world.advance(100)]);
  assert.deepEqual([state.version, state.status, state.isStale], [1, 'offline', false]);
  assert.match(world.server.requests[0].url, /\/api\/v1\/balance\?fresh=true$/);
  assert.match(world.server.requests[0].headers.authorization, /^Bearer ey/);
});

test('a refresh whose connection breaks is answered over HTTP', async (t) => {
  const world = new World(t);
  const client = await world.live();
  world.server.commit(USER, TON, { push: false });
  const refreshed = client.refresh();
  await world.advance(2);
  world.server.closeAll(1001, 'going_away');
  await world.advance(200);
  assert.equal((await refreshed).version, 1);
});

test('a refresh that fails leaves the value, with the error beside it', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.live();
  world.server.isDown = true;
  client.tab.fire('offline');
  const [state] = await Promise.all([client.refresh(), world.advance(100)]);
  assert.deepEqual([state.balances.TON, state.isStale, state.error.code], ['1.000000000', true, 'network']);
});

test('refresh without a start, or after stop, asks nobody', async (t) => {
  const world = new World(t);
  const client = world.client();
  assert.equal((await client.refresh()).status, 'closed');
  client.start();
  await world.advance(100);
  client.stop();
  assert.equal((await client.refresh()).status, 'closed');
  assert.equal((await client.read()).status, 'closed');
  assert.equal(world.server.requests.length, 0);
});

test('waitFor resolves when the version is there', async (t) => {
  const world = new World(t);
  const client = await world.live();
  const waiting = client.waitFor(2);
  await world.advance(100);
  world.server.commit(USER, TON);
  world.server.commit(USER, TON);
  await world.advance(100);
  assert.equal((await waiting).version, 2);
  assert.equal((await client.waitFor(1)).version, 2);
});

test('waitFor asks the ledger, so that a page reads its own write before the push', async (t) => {
  const world = new World(t);
  const client = await world.live();
  const version = world.server.commit(USER, TON, { push: false });
  const [state] = await Promise.all([client.waitFor(version), world.advance(100)]);
  assert.equal(state.version, version);
});

test('waitFor ends with its time, its signal, or the client', async (t) => {
  const world = new World(t);
  const client = world.client();
  await assert.rejects(client.waitFor(1), { code: 'closed' });
  client.start();
  await world.advance(100);
  await Promise.all([assert.rejects(client.waitFor(9, { timeoutMs: 700 }), { code: 'timeout' }), world.advance(700)]);
  const abort = new AbortController();
  const waiting = client.waitFor(9, { signal: abort.signal });
  abort.abort(new Error('left the page'));
  await assert.rejects(waiting, { message: 'left the page' });
  await assert.rejects(client.waitFor(9, { signal: abort.signal }), { message: 'left the page' });
  const closed = assert.rejects(client.waitFor(9), { code: 'closed' });
  client.stop();
  await closed;
  client.start();
  await world.advance(100);
  const sentAway = assert.rejects(client.waitFor(9), { code: 'closed_by_administrator' });
  world.server.closeAll(4510, 'closed_by_administrator');
  await world.advance(100);
  await sentAway;
});

test('a version is reported as displayed after it is painted, once', async (t) => {
  const world = new World(t);
  const client = await world.live();
  assert.equal(world.server.sent('displayed').length, 0, 'nothing is painted yet');
  client.tab.paint();
  await world.advance(20);
  world.server.commit(USER, TON);
  world.server.commit(USER, TON);
  await world.advance(20);
  client.tab.paint();
  await world.advance(20);
  await Promise.all([client.refresh(), world.advance(100)]);
  client.tab.paint();
  await world.advance(20);
  assert.deepEqual(world.server.sent('displayed').map(({ version }) => version), [0, 2]);
});

test('a hidden page reports nothing until it is shown', async (t) => {
  const world = new World(t);
  const tab = world.browser.tab({ isVisible: false, hasLocks: false });
  await world.live({ tab });
  world.server.commit(USER, TON);
  await world.advance(20);
  tab.paint();
  await world.advance(20);
  assert.equal(world.server.sent('displayed').length, 0);
  tab.show();
  tab.paint();
  await world.advance(20);
  assert.deepEqual(world.server.sent('displayed').map(({ version }) => version), [1]);
});

test('a page hidden between the value and its painting reports nothing', async (t) => {
  const world = new World(t);
  const client = await world.live();
  client.tab.hide();
  client.tab.paint();
  await world.advance(20);
  assert.equal(world.server.sent('displayed').length, 0);
});

test('a version that comes while another is painted is reported with the next frame', async (t) => {
  const world = new World(t);
  const client = await world.live();
  const [socket] = world.server.sockets;
  client.tab.paint();
  world.server.commit(USER, TON, { push: false });
  socket.onmessage({ data: JSON.stringify(world.server.update(USER, TON)) });
  await world.advance(20);
  assert.deepEqual(world.server.sent('displayed').map(({ version }) => version), [0]);
  client.tab.paint();
  await world.advance(20);
  assert.deepEqual(world.server.sent('displayed').map(({ version }) => version), [0, 1]);
});

test('a new connection is told again what is displayed', async (t) => {
  const world = new World(t);
  const client = await world.live();
  client.tab.paint();
  await world.advance(20);
  world.server.closeAll(1001, 'going_away');
  await world.advance(1_000);
  client.tab.paint();
  await world.advance(20);
  assert.equal(world.server.sent('displayed').length, 2);
});

test('a client can be made where there is no page', async (t) => {
  const world = new World(t);
  const { BalanceClient } = await import('../../../src/web/client/balance-client.js');
  const client = new BalanceClient({ getToken: () => world.token() });
  assert.equal(client.getSnapshot().status, 'closed');
});
