import assert from 'node:assert/strict';
import test from 'node:test';
import { OTHER_USER, TON, USER, World } from './support/world.mjs';

const session = (world) => [...world.server.sessions][0];
const shown = ({ current }) => [current.epoch, current.version, current.balances?.TON];

test('nothing older than what is shown is shown, within an epoch', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const old = world.server.update(USER, TON);
  const client = await world.live();
  world.server.commit(USER, TON);
  await world.advance(20);
  session(world).tell(old);
  session(world).tell({ type: 'balance', reason: 'recovered', ...old, as_of: world.server.now, stale: false });
  await world.advance(20);
  assert.deepEqual(shown(client), ['e1', 2, '2.000000000']);
  assert.deepEqual(client.states.map(({ version }) => version).filter(Boolean), [1, 2]);
});

test('a new epoch starts over, even with a smaller version', async (t) => {
  const world = new World(t);
  for (let entry = 0; entry < 5; entry += 1) world.server.commit(USER, TON);
  const client = await world.live();
  world.server.restore('e2', USER, 2, 2 * TON);
  await world.advance(1_000);
  assert.deepEqual(shown(client), ['e2', 2, '2.000000000']);
  assert.equal(client.current.isStale, false);
});

test('a late answer of an epoch that is over is dropped', async (t) => {
  const world = new World(t);
  for (let entry = 0; entry < 5; entry += 1) world.server.commit(USER, TON);
  world.server.isWsBlocked = true;
  const client = world.client();
  client.start();
  await world.advance(50);
  world.server.httpLatencyMs = 5_000;
  client.refresh();
  await world.advance(20);
  world.server.restore('e2', USER, 2, 2 * TON);
  world.server.isWsBlocked = false;
  await world.advance(4_000);
  assert.deepEqual(shown(client), ['e2', 2, '2.000000000']);
  await world.advance(10_000);
  assert.deepEqual(shown(client), ['e2', 2, '2.000000000']);
  assert.ok(client.states.every(({ epoch }) => epoch !== 'e1'));
});

test('a frame of an epoch that is over ends its connection', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.live();
  const first = session(world);
  first.tell({ ...world.server.update(USER, TON), epoch: 'e0', version: 9 });
  await world.advance(1_000);
  assert.deepEqual(shown(client), ['e1', 1, '1.000000000']);
  assert.notEqual(session(world), first);
});

test('HTTP and WebSocket merge by version, whichever comes later', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  world.server.isWsBlocked = true;
  const client = world.client();
  client.start();
  world.server.httpLatencyMs = 3_000;
  client.refresh();
  await world.advance(50);
  world.server.isWsBlocked = false;
  world.server.commit(USER, TON);
  await world.advance(1_500);
  assert.equal(client.current.version, 2);
  await world.advance(3_000);
  assert.deepEqual([client.current.version, client.current.status, client.current.isStale], [2, 'live', false]);
  assert.ok(client.states.every(({ version }) => version !== 1));
});

test('a late answer of the same version changes nothing, not even the time', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  world.server.isWsBlocked = true;
  const client = world.client();
  client.start();
  world.server.httpLatencyMs = 5_000;
  client.refresh();
  await world.advance(50);
  world.server.isWsBlocked = false;
  await world.advance(3_000);
  const before = client.current;
  assert.deepEqual([before.status, before.version], ['live', 1]);
  await world.advance(4_000);
  assert.equal(client.current, before);
});

test('a late answer with a newer version is shown, and stays stale when what came since is', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const account = world.server.account(USER);
  world.server.isWsBlocked = true;
  const client = world.client();
  client.start();
  world.server.httpLatencyMs = 5_000;
  account.version = 2; // only this answer knows of it
  client.refresh();
  await world.advance(50);
  account.version = 1;
  world.server.isWsBlocked = false;
  await world.advance(3_000);
  assert.deepEqual([client.current.version, client.current.isStale], [1, false]);
  session(world).tell({ type: 'balance', reason: 'snapshot', ...world.server.state(USER), stale: true });
  await world.advance(4_000);
  assert.deepEqual([client.current.version, client.current.isStale], [2, true]);
});

test('a frame of another user is never shown', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  world.server.account(OTHER_USER).version = 50;
  const client = await world.live();
  const before = client.current;
  session(world).tell(world.server.update(OTHER_USER, TON));
  session(world).tell({ type: 'balance', reason: 'refresh', ...world.server.state(OTHER_USER) });
  await world.advance(50);
  assert.equal(client.current, before);
});

test('a service that greets another user than the token names is not believed', async (t) => {
  const world = new World(t);
  world.server.account(OTHER_USER).version = 50;
  world.server.userOf = () => OTHER_USER;
  const client = world.client();
  client.start();
  await Promise.all([client.refresh(), world.advance(30_000)]);
  assert.equal(client.current.balances, null);
  assert.notEqual(client.current.status, 'live');
});

test('an HTTP answer that comes after stop, or after the start that follows it, is dropped', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  world.server.isWsBlocked = true;
  world.server.httpLatencyMs = 1_000;
  const client = world.client();
  client.start();
  const refreshed = client.refresh();
  await world.advance(100);
  client.stop();
  assert.deepEqual((await refreshed).balances, null);
  await world.advance(5_000);
  assert.deepEqual([client.current.status, client.current.balances], ['closed', null]);
  client.start();
  client.refresh();
  await world.advance(100);
  client.stop();
  client.start();
  await world.advance(1_500);
  assert.equal(client.current.balances, null);
});

test('after a sign-out and a sign-in as another user nothing of the first one is shown', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  let userId = USER;
  const client = await world.live({ getToken: () => world.token(userId) });
  client.stop();
  userId = OTHER_USER;
  client.states.length = 0;
  client.start();
  await world.advance(100);
  assert.deepEqual(shown(client), ['e1', 0, '0.000000000']);
  assert.ok(client.states.every((state) => state.userId !== USER && state.balances?.TON !== '1.000000000'));
});

test('a change of user without a sign-out is noticed by the token and clears at once', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  let userId = USER;
  const client = await world.live({ getToken: () => world.token(userId, 100_000) });
  userId = OTHER_USER;
  client.states.length = 0;
  await world.advance(85_000);
  assert.deepEqual([client.current.userId, client.current.version, client.current.status], [OTHER_USER, 0, 'live']);
  const [first] = client.states;
  assert.deepEqual([first.status, first.balances], ['connecting', null]);
  assert.equal(world.server.openSockets.length, 1);
});

test('an answer for the user before is dropped when it comes after the change', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  world.server.isWsBlocked = true;
  world.server.httpLatencyMs = 6_000;
  let userId = USER;
  const client = world.client({ getToken: () => world.token(userId, 6_000) });
  client.start();
  client.refresh();
  await world.advance(500);
  userId = OTHER_USER;
  await world.advance(20_000);
  assert.ok(client.states.every((state) => state.balances?.TON !== '1.000000000'));
  world.server.isWsBlocked = false;
  await world.advance(20_000);
  assert.deepEqual([client.current.userId, client.current.status], [OTHER_USER, 'live']);
});

test('a change of user is noticed by hello where the token tells nothing', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  world.server.initDataUsers.set('opaque', USER);
  const client = await world.live({ getInitData: () => 'opaque' });
  assert.equal(client.current.balances.TON, '1.000000000');
  world.server.initDataUsers.set('opaque', OTHER_USER);
  world.server.closeAll(1001, 'going_away');
  client.states.length = 0;
  await world.advance(1_000);
  assert.deepEqual([client.current.userId, client.current.balances.TON], [OTHER_USER, '0.000000000']);
  assert.ok(client.states.every((state) => state.userId !== OTHER_USER || state.balances?.TON !== '1.000000000'));
});

test('a push without balances, with numbers or with half a version is ignored', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.live();
  const good = world.server.update(USER, TON);
  const before = client.current;
  for (const wrong of [
    { balances: undefined }, { balances: null }, { balances: { TON: 5 } }, { version: 7.5 }, { version: '7' }, { version: -1 },
    { epoch: undefined }, { epoch: 7 }, { user_id: '184' }, { user_id: null },
  ]) {
    session(world).tell({ ...good, version: 7, ...wrong });
  }
  for (const text of ['', 'null', '[]', '7', '"balance"', '{', '{"type":"later"}']) session(world).tell(text);
  await world.advance(100);
  assert.equal(client.current, before);
});

test('while the ledger is away the last value stays, marked as stale, and never a zero', async (t) => {
  const world = new World(t);
  world.server.commit(USER, 5 * TON);
  const client = await world.live();
  world.server.isLedgerAway = true;
  await Promise.all([client.refresh(), world.advance(100)]);
  assert.deepEqual([client.current.status, client.current.isStale, client.current.balances.TON], ['live', true, '5.000000000']);
  world.server.isLedgerAway = 'unknown';
  world.server.closeAll(1001, 'going_away');
  await world.advance(1_000);
  const { status, isStale, balances, error } = client.current;
  assert.deepEqual([status, isStale, balances.TON, error.code], ['live', true, '5.000000000', 'ledger_unavailable']);
  world.server.isLedgerAway = false;
  session(world).tell({ type: 'balance', reason: 'recovered', ...world.server.state(USER) });
  await world.advance(50);
  assert.deepEqual([client.current.isStale, client.current.error], [false, null]);
});

test('a stale frame of an older state marks what is shown and does not replace it', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const old = world.server.state(USER);
  world.server.commit(USER, TON);
  const client = await world.live();
  session(world).tell({ type: 'balance', reason: 'snapshot', ...old, stale: true });
  await world.advance(50);
  assert.deepEqual([client.current.version, client.current.isStale], [2, true]);
});

test('without any balance an outage is an error beside nothing', async (t) => {
  const world = new World(t);
  world.server.isLedgerAway = 'unknown';
  const client = await world.live();
  const { status, balances, error, isStale } = client.current;
  assert.deepEqual([status, balances, error.code, isStale], ['live', null, 'ledger_unavailable', true]);
});
