// Several tabs of one user: sign-outs, leaders that hang or are gone, refreshes in loops.

import assert from 'node:assert/strict';
import test from 'node:test';
import { MemoryStorage } from './support/browser.mjs';
import { OTHER_USER, TON, USER, World } from './support/world.mjs';

const shared = (world) => ({ tab: world.browser.tab() });

test('stop() in one tab signs the user\'s other tabs out, and takes what is stored with it', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  const mine = [await world.live({ ...shared(world), storage }), await world.live({ ...shared(world), storage }), await world.live({ ...shared(world), share: false, storage })];
  const other = await world.live({ ...shared(world), as: OTHER_USER });
  world.server.commit(USER, TON);
  await world.advance(50);
  assert.equal(storage.items.size, 1);
  mine[0].stop();
  await world.advance(50);
  const states = mine.map(({ current: { status, balances, error } }) => [status, balances, error?.code]);
  assert.deepEqual(states, [['closed', null, undefined], ['unauthorized', null, 'signed_out'], ['unauthorized', null, 'signed_out']]);
  assert.equal(storage.items.size, 0);
  assert.deepEqual([other.current.status, other.current.isStale], ['live', false]);
  await world.advance(60_000);
  assert.equal(world.server.openSockets.length, 1);
});

test('a token that was asked for before another tab signed out is not taken', async (t) => {
  for (const isAgain of [false, true]) {
    const world = new World(t);
    const signedIn = await world.live(shared(world));
    world.server.commit(USER, TON);
    let calls = 0;
    // The first answer was on its way when the user signed out; the second is of the time after it.
    const first = world.token();
    const getToken = () => ((calls += 1) === 1 ? new Promise((resolve) => world.clock.setTimeout(() => resolve(first), 500)) : isAgain ? world.token() : null);
    const starting = world.client({ ...shared(world), getToken });
    starting.start();
    await world.advance(100);
    signedIn.stop();
    await world.advance(1_000);
    const shown = starting.states.filter(({ balances }) => balances).length;
    assert.deepEqual([calls, starting.current.status, shown > 0], [2, isAgain ? 'live' : 'unauthorized', isAgain]);
  }
});

test('a tab that the service has sent away shows a balance still, and hears the sign-out', async (t) => {
  const world = new World(t);
  const [away, other] = [await world.live({ ...shared(world), share: false }), await world.live(shared(world))];
  world.server.commit(USER, TON);
  await world.advance(50);
  for (const session of world.server.sessions) if (session instanceof away.tab.env.WebSocket) session.end(4510, 'closed_by_administrator');
  await world.advance(50);
  assert.deepEqual([away.current.status, away.current.balances.TON], ['closed', '1.000000000']);
  other.stop();
  await world.advance(50);
  assert.deepEqual([away.current.status, away.current.balances], ['unauthorized', null]);
});

test('a page that leaves without a sign-out leaves the others alone', async (t) => {
  const world = new World(t);
  const [leaving, staying] = [await world.live(shared(world)), await world.live(shared(world))];
  leaving.stop({ forget: false });
  await world.advance(200);
  assert.equal(staying.current.status, 'live');
});

test('a page that comes out of the back-forward cache asks for the token again: it may have missed a sign-out', async (t) => {
  const world = new World(t);
  let isSignedIn = true;
  const client = await world.live({ ...shared(world), getToken: () => (isSignedIn ? world.token() : null) });
  const other = await world.live(shared(world));
  client.tab.fire('pagehide');
  client.tab.freeze();
  isSignedIn = false;
  other.stop();
  await world.advance(1_000);
  client.tab.thaw();
  client.tab.fire('pageshow');
  await world.advance(100);
  assert.deepEqual([client.current.status, client.current.balances], ['unauthorized', null]);
});

test('within 3 s of a leader that hangs a follower in sight is stale, and then live by a connection of its own', async (t) => {
  const world = new World(t);
  const [leader, follower] = [await world.live(shared(world)), await world.live(shared(world))];
  await world.advance(5_000);
  leader.tab.freeze();
  world.server.commit(USER, TON);
  follower.states.length = 0;
  await world.advance(3_000);
  assert.deepEqual([follower.states[0].status, follower.states[0].isStale], ['connecting', true]);
  assert.deepEqual([follower.current.status, follower.current.isStale, follower.current.version], ['live', false, 1]);
  const third = await world.live(shared(world));
  for (const { states } of [follower, third]) states.length = 0;
  leader.tab.thaw();
  await world.advance(5_000);
  assert.deepEqual([leader.current.status, leader.current.version], ['live', 1]);
  const told = [...follower.states, ...third.states].map(({ status, isStale }) => `${status} ${isStale}`);
  assert.deepEqual(told.filter((one) => one !== 'live false'), [], 'what the old leader says when it wakes moves no other tab');
  assert.equal(world.server.openSockets.length, 1);
});

test('within 3 s of a leader that is gone no tab calls its balance live while the service does not answer the next one', async (t) => {
  const world = new World(t);
  const [leader, ...followers] = [await world.live(shared(world)), await world.live(shared(world)), await world.live(shared(world))];
  world.server.isMute = true;
  leader.tab.crash();
  world.server.commit(USER, TON);
  await world.advance(1_000);
  assert.deepEqual(followers.map(({ current }) => current.status), ['live', 'live'], 'a short while, as with each tab that is closed');
  await world.advance(2_000);
  assert.deepEqual(followers.map(({ current: { status, isStale } }) => [status, isStale]), [['connecting', true], ['connecting', true]]);
  world.server.isMute = false;
  await world.advance(60_000);
  assert.deepEqual(followers.map(({ current: { status, isStale, version } }) => [status, isStale, version]), [['live', false, 1], ['live', false, 1]]);
  assert.equal(world.server.openSockets.length, 1);
});

test('a follower that hangs itself does not take the lead from a leader that is well', async (t) => {
  const world = new World(t);
  const [leader, follower] = [await world.live(shared(world)), await world.live(shared(world))];
  await world.advance(5_000);
  leader.states.length = 0;
  follower.tab.freeze();
  await world.advance(60_000);
  follower.tab.thaw();
  await world.advance(5_000);
  assert.equal(world.server.sockets.length, 1);
  assert.ok([leader, follower].every(({ current }) => current.status === 'live'));
});

test('tabs that refresh in a loop are answered and never thrown off', async (t) => {
  const world = new World(t);
  const clients = [];
  for (let n = 0; n < 3; n += 1) clients.push(await world.live(shared(world)));
  let answers = 0;
  let isOver = false;
  const loop = async (client) => {
    while (!isOver) {
      await client.refresh();
      answers += 1;
    }
  };
  const loops = clients.map(loop);
  await world.advance(20_000);
  isOver = true;
  await Promise.all([...loops, world.advance(2_000)]);
  assert.ok(answers > 300, `${answers}`);
  assert.equal(world.server.thrownOff, 0);
  assert.equal(world.server.sockets.length, 1);
  assert.ok(world.server.sent('refresh').length < 200, `${world.server.sent('refresh').length}`);
});
