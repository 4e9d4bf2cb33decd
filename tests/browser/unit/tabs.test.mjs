import assert from 'node:assert/strict';
import test from 'node:test';
import { OTHER_USER, TON, USER, World } from './support/world.mjs';

/** So many live clients, each in a tab of one browser. */
async function tabs(world, count, options) {
  const clients = [];
  for (let n = 0; n < count; n += 1) clients.push(await world.live({ tab: world.browser.tab(), ...options }));
  return clients;
}

const statuses = (clients) => clients.map(({ current }) => current.status);
const versions = (clients) => clients.map(({ current }) => current.version);

test('all tabs of a user share one connection, and every one shows every change', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const clients = await tabs(world, 4);
  assert.equal(world.server.openSockets.length, 1);
  assert.deepEqual(versions(clients), [1, 1, 1, 1]);
  assert.ok(clients.every(({ current }) => current.lastUpdate === null), 'an old change is no news for a new tab');
  world.server.commit(USER, TON);
  await world.advance(50);
  assert.deepEqual(versions(clients), [2, 2, 2, 2]);
  assert.ok(clients.every(({ current }) => current.lastUpdate.version === 2));
});

test('a tab that comes later has its balance at once, from the leader', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  await tabs(world, 1);
  const { length } = world.server.messages;
  const late = world.client({ tab: world.browser.tab() });
  late.start();
  await world.advance(10);
  assert.deepEqual([late.current.status, late.current.version, late.current.isStale], ['live', 1, false]);
  assert.equal(world.server.messages.length, length, 'the service was not asked');
});

test('a leader that leaves passes the lead on, and no change is missed', async (t) => {
  const world = new World(t);
  const clients = await tabs(world, 3);
  clients[0].stop({ forget: false });
  world.server.commit(USER, TON);
  await world.advance(100);
  assert.deepEqual(statuses(clients), ['closed', 'live', 'live']);
  assert.deepEqual(versions(clients), [null, 1, 1]);
  assert.equal(world.server.openSockets.length, 1);
});

test('a leader that crashes is followed by another', async (t) => {
  const world = new World(t);
  const clients = await tabs(world, 3);
  clients[0].tab.crash();
  world.server.commit(USER, TON);
  await world.advance(100);
  assert.deepEqual(versions(clients.slice(1)), [1, 1]);
  assert.equal(world.server.openSockets.length, 1);
});

test('a leader that goes to the back-forward cache lets go, and follows when it is back', async (t) => {
  const world = new World(t);
  const clients = await tabs(world, 2);
  const [leader, follower] = clients;
  leader.tab.fire('pagehide');
  assert.deepEqual([leader.current.status, leader.current.isStale], ['offline', true]);
  leader.tab.freeze();
  world.server.commit(USER, TON);
  await world.advance(100);
  assert.deepEqual([follower.current.version, follower.current.status], [1, 'live']);
  assert.equal(world.server.openSockets.length, 1);
  assert.equal(leader.current.version, 0);
  await world.advance(600_000);
  leader.tab.thaw();
  leader.tab.fire('pageshow');
  await world.advance(50);
  assert.deepEqual([leader.current.version, leader.current.status, leader.current.isStale], [1, 'live', false]);
  assert.equal(world.server.openSockets.length, 1);
});

test('a frozen leader that keeps the lock is replaced by a tab that opens', async (t) => {
  const world = new World(t);
  const [leader] = await tabs(world, 1);
  leader.tab.freeze();
  world.server.commit(USER, TON);
  const late = world.client({ tab: world.browser.tab() });
  late.start();
  await world.advance(3_200);
  assert.deepEqual([late.current.status, late.current.version], ['live', 1]);
  leader.tab.thaw();
  await world.advance(2_000);
  assert.deepEqual([leader.current.status, leader.current.version], ['live', 1]);
  assert.equal(world.server.openSockets.length, 1);
});

test('a frozen leader is replaced by a follower that is looked at', async (t) => {
  const world = new World(t);
  const [leader, follower] = await tabs(world, 2);
  leader.tab.freeze();
  world.server.commit(USER, TON);
  await world.advance(20);
  follower.tab.show();
  await world.advance(12_000);
  assert.deepEqual([follower.current.status, follower.current.version], ['live', 1]);
  leader.tab.thaw();
  await world.advance(2_000);
  assert.deepEqual(statuses([leader, follower]), ['live', 'live']);
  assert.equal(world.server.openSockets.length, 1);
});

test('a follower refreshes over the shared connection', async (t) => {
  const world = new World(t);
  const [leader, follower] = await tabs(world, 2);
  world.server.commit(USER, TON, { push: false });
  const [state] = await Promise.all([follower.refresh(), world.advance(100)]);
  assert.equal(state.version, 1);
  assert.equal(leader.current.version, 1);
  assert.equal(world.server.requests.length, 0);
});

test('a version that several tabs paint is reported once', async (t) => {
  const world = new World(t);
  const clients = await tabs(world, 3);
  clients[0].tab.hide();
  world.server.commit(USER, TON);
  await world.advance(50);
  clients.slice(1).forEach(({ tab }) => tab.paint());
  await world.advance(50);
  assert.deepEqual(world.server.sent('displayed').map(({ version }) => version), [1]);
});

test('a lost connection is shown by every tab, and comes back as one', async (t) => {
  const world = new World(t);
  const clients = await tabs(world, 3);
  world.server.isDown = true;
  world.server.closeAll(1006, '');
  await world.advance(50);
  assert.deepEqual(statuses(clients), ['offline', 'offline', 'offline']);
  assert.ok(clients.every(({ current }) => current.isStale));
  world.server.isDown = false;
  world.server.commit(USER, TON);
  await world.advance(10_000);
  assert.deepEqual(versions(clients), [1, 1, 1]);
  assert.deepEqual(statuses(clients), ['live', 'live', 'live']);
  assert.equal(world.server.openSockets.length, 1);
});

test('a session that an administrator closes stays closed in every tab', async (t) => {
  const world = new World(t);
  const clients = await tabs(world, 3);
  world.server.closeAll(4510, 'closed_by_administrator');
  await world.advance(60_000);
  assert.deepEqual(statuses(clients), ['closed', 'closed', 'closed']);
  assert.equal(world.server.sockets.length, 1);
});

test('a token of the leader that is refused does not sign the others out', async (t) => {
  const world = new World(t);
  let isSignedIn = true;
  const leader = await world.live({ tab: world.browser.tab(), getToken: () => (isSignedIn ? world.token() : null) });
  const [follower] = await tabs(world, 1);
  isSignedIn = false;
  follower.states.length = 0;
  world.server.refused.add(world.server.messages[0].token);
  world.server.closeAll(4501, 'token_expired');
  await world.advance(1_000);
  assert.deepEqual(statuses([leader, follower]), ['unauthorized', 'live']);
  assert.ok(follower.states.every(({ status }) => status === 'live'));
  assert.equal(leader.current.balances, null);
});

test('tabs of different users share nothing', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const [mine] = await tabs(world, 1);
  const [theirs] = await tabs(world, 1, { as: OTHER_USER });
  assert.equal(world.server.openSockets.length, 2);
  assert.deepEqual([mine.current.balances.TON, theirs.current.balances.TON], ['1.000000000', '0.000000000']);
});

test('no token ever passes between tabs', async (t) => {
  const world = new World(t);
  const heard = [];
  const spy = world.browser.tab();
  const clients = await tabs(world, 2);
  const { name } = [...world.browser.channels].find((one) => one.name.startsWith('balance-client 2 '));
  const channel = new spy.env.BroadcastChannel(name);
  channel.onmessage = ({ data }) => heard.push(JSON.stringify(data));
  clients[1].refresh();
  world.server.commit(USER, TON);
  await world.advance(3_600_000);
  clients[0].stop();
  await world.advance(1_000);
  assert.ok(heard.length > 5);
  assert.ok(heard.every((text) => !text.includes('auth') && !text.includes('eyJ')));
});

test('where locks are missing, forbidden or not wanted each tab has its own connection', async (t) => {
  const world = new World(t);
  const forbidden = world.browser.tab();
  forbidden.env.navigator.locks.request = () => Promise.reject(new DOMException('no', 'SecurityError'));
  const broken = world.browser.tab();
  broken.env.BroadcastChannel = class {
    constructor() {
      throw new DOMException('no', 'SecurityError');
    }
  };
  for (const tab of [world.browser.tab({ hasLocks: false }), forbidden, broken]) {
    const client = await world.live({ tab });
    assert.equal(client.current.status, 'live');
  }
  const alone = await world.live({ tab: world.browser.tab(), share: false });
  assert.equal(alone.current.status, 'live');
  assert.equal(world.server.openSockets.length, 4);
});

test('a leader whose connection never opens does not keep the others waiting', async (t) => {
  const world = new World(t);
  const [leader, follower] = await tabs(world, 2);
  world.server.isMute = true;
  leader.stop({ forget: false });
  await world.advance(10_100);
  assert.equal(follower.current.status, 'offline');
  world.server.isMute = false;
  await world.advance(2_000);
  assert.equal(follower.current.status, 'live');
  assert.equal(world.server.openSockets.length, 1);
});

// Found by the property test with seed 1705844059.
test('a leader that still tells of an epoch that is over is not believed, and replaced', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const [leader, follower] = await tabs(world, 2);
  world.server.sessions.clear(); // its connection is dead, which nothing tells it
  world.server.epoch = 'e2';
  follower.tab.fire('offline');
  await Promise.all([follower.refresh(), world.advance(100)]);
  assert.equal(follower.current.epoch, 'e2');
  follower.states.length = 0;
  await world.advance(10_000);
  assert.ok(follower.states.every(({ epoch }) => epoch === 'e2'));
  assert.deepEqual(statuses([leader, follower]), ['live', 'live']);
  assert.deepEqual([leader.current.epoch, follower.current.epoch], ['e2', 'e2']);
  assert.equal(world.server.openSockets.length, 1);
});
