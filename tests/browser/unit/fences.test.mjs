import assert from 'node:assert/strict';
import test from 'node:test';
import { MemoryStorage } from './support/browser.mjs';
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
  const client = await world.blocked();
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

test('a refresh whose answer comes after another epoch was shown is asked again', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.blocked();
  world.server.httpLatencyMs = 3_000;
  const refreshed = client.refresh();
  await world.advance(1);
  // The answer is of the third epoch; meanwhile a connection tells of the second, whose answer is older.
  world.server.epoch = 'e2';
  const second = world.server.state(USER);
  await world.advance(2);
  world.server.restore('e3', USER, 5, 5 * TON);
  await world.advance(500);
  world.server.isWsBlocked = false;
  const { state } = world.server;
  world.server.state = () => second;
  await world.advance(1_500);
  assert.equal(client.current.epoch, 'e2');
  world.server.state = state;
  await world.advance(10_000);
  assert.deepEqual(shown({ current: await refreshed }), ['e3', 5, '5.000000000']);
});

test('an answer that is never of what is shown is told as none, and ends', async (t) => {
  const world = new World(t);
  const client = await world.blocked();
  const { state } = world.server;
  world.server.state = () => state.call(world.server, OTHER_USER);
  const [refreshed] = await Promise.all([client.refresh(), world.advance(5_000)]);
  assert.deepEqual([refreshed.error.code, refreshed.balances], ['wrong_user', null]);
  assert.equal(world.server.requests.filter(({ url }) => url.endsWith('fresh=true')).length, 3);
});

test('a refresh that the end of the client breaks off says so, whatever a new start has restored', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  for (const isConnected of [true, false]) {
    const client = await world.live({ storage: new MemoryStorage(), userId: USER });
    if (!isConnected) await world.cutOff();
    const refreshed = client.refresh();
    await world.advance(2);
    client.stop({ forget: false });
    client.start();
    const { version, isStale, error } = await refreshed;
    assert.deepEqual([version, isStale, error?.code], [1, true, 'closed']);
    assert.equal(client.current.error, null);
  }
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

for (const away of [true, 'unknown']) {
  test(`an answer from before the ledger was away (${away}) does not make what is shown fresh`, async (t) => {
    const world = new World(t);
    world.server.commit(USER, TON);
    const client = await world.live();
    await world.cutOff();
    world.server.httpLatencyMs = 5_000;
    client.refresh();
    await world.advance(20);
    // Nobody who signs in now hears of this one.
    const known = world.server.state(USER);
    world.server.commit(USER, TON);
    Object.assign(world.server, { isWsBlocked: false, isLedgerAway: away, state: () => ({ ...known, stale: true }) });
    await world.advance(8_000);
    const { status, version, isStale } = client.current;
    assert.deepEqual([status, version, isStale], ['live', 1, true]);
  });
}

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

for (const way of ['WebSocket', 'HTTP']) {
  test(`a refresh that is answered with a stale balance (${way}) says so`, async (t) => {
    const world = new World(t);
    world.server.commit(USER, TON);
    const client = await world.live();
    if (way === 'HTTP') await world.cutOff();
    const known = world.server.state(USER);
    world.server.commit(USER, TON, { push: false });
    world.server.state = () => ({ ...known, stale: true });
    const [{ version, isStale, error }] = await Promise.all([client.refresh(), world.advance(100)]);
    assert.deepEqual([version, isStale, error?.code], [1, true, 'ledger_unavailable']);
  });
}

test('a refresh whose answer makes a listener stop the client says that it is closed', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.blocked();
  client.subscribe(({ version }) => version === 1 && client.stop());
  const [state] = await Promise.all([client.refresh(), world.advance(100)]);
  assert.deepEqual([state.balances, state.error?.code], [null, 'closed']);
});

for (const [type, happens] of [
  ['live', () => {}],
  ['lost', (world) => world.server.closeAll(1001, 'going_away')],
  ['retrying', (world) => world.server.closeAll(1001, 'going_away')],
  ['leader_silent', (world, leader) => leader.tab.freeze()],
  ['credential_failed', () => {}],
  ['status', (world) => world.server.closeAll(1001, 'going_away')],
  ['opening', (world) => world.server.closeAll(1001, 'going_away')],
]) {
  test(`a page that stops when it is told ${type} has stopped`, async (t) => {
    const world = new World(t);
    world.server.commit(USER, TON);
    const leader = await world.live({ tab: world.browser.tab() });
    let isSignedIn = true;
    const client = world.client({ tab: world.browser.tab(), getToken: () => (isSignedIn ? world.token(USER, 60_000) : null) });
    client.start();
    if (type !== 'live') await world.advance(100);
    const told = [];
    client.onConnection((event) => {
      if (event.type !== type) return;
      told.push(event);
      client.stop();
    });
    isSignedIn = type !== 'credential_failed';
    happens(world, leader);
    await world.advance(60_000);
    assert.ok(told.length);
    const { status, balances, error } = client.current;
    assert.deepEqual([status, balances, error], ['closed', null, null]);
    assert.deepEqual(client.tab.errors, []);
  });
}
