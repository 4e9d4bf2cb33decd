import assert from 'node:assert/strict';
import test from 'node:test';
import { MemoryStorage } from './support/browser.mjs';
import { OTHER_USER, TON, USER, World } from './support/world.mjs';

const doubts = (clients) => clients.map(({ states }) => states.filter(({ status, isStale }) => status !== 'live' || isStale).length);

/** Live clients in tabs of one browser; those after the first in sight or not. */
async function opened(world, count, { isVisible = true } = {}) {
  const clients = [];
  for (let n = 0; n < count; n += 1) {
    clients.push(await world.live({ tab: world.browser.tab({ isVisible: n === 0 || isVisible }) }));
  }
  await world.advance(10_000);
  return clients;
}

const forget = (clients) => clients.forEach(({ states }) => (states.length = 0));

for (const count of [2, 3]) {
  test(`closing the leading tab in sight leaves the next of ${count} live, which comes in sight`, async (t) => {
    const world = new World(t);
    const [leader, ...others] = await opened(world, count, { isVisible: false });
    forget(others);
    others.at(-1).tab.show();
    leader.tab.crash();
    await world.advance(2_000);
    assert.deepEqual(doubts(others), others.map(() => 0));
    assert.equal(world.server.openSockets.length, 1);
  });
}

test('a new leader that is connected within 1.5 s makes nothing stale', async (t) => {
  for (const afterMs of [0, 200, 400, 600, 790]) {
    const world = new World(t);
    const [leader, ...others] = await opened(world, 3);
    await world.advance(afterMs);
    forget(others);
    for (const { tab } of others) {
      const { WebSocket } = tab.env;
      tab.env.WebSocket = class extends WebSocket {
        send(text) {
          tab.env.setTimeout(() => super.send(text), 1_300);
        }
      };
    }
    leader.tab.crash();
    await world.advance(5_000);
    assert.deepEqual(doubts(others), [0, 0], `${afterMs} ms after an ask`);
    t.mock.restoreAll();
  }
});

test('a tab that hung when its turn came, and goes on, makes nobody deaf to the one that leads', async (t) => {
  const world = new World(t);
  const [leader, hung, ...others] = await opened(world, 4);
  hung.tab.freeze();
  await world.advance(1_000);
  leader.tab.crash();
  await world.advance(20_000);
  forget(others);
  await hung.tab.thawSlowly();
  await world.advance(10_000);
  assert.deepEqual(doubts(others), [0, 0]);
});

for (const isVisible of [true, false]) {
  test(`a page from before, whose leader does not say who it is, is heard (in sight: ${isVisible})`, async (t) => {
    const world = new World(t);
    const first = await world.live({ tab: world.browser.tab() });
    const tab = world.browser.tab();
    const { BroadcastChannel } = tab.env;
    tab.env.BroadcastChannel = class extends BroadcastChannel {
      postMessage({ from, lead, isWaiting, ...message }) {
        if (lead === undefined) super.postMessage(message);
      }
    };
    const before = await world.live({ tab });
    const mine = await world.live({ tab: world.browser.tab({ isVisible }) });
    forget([before, mine]);
    first.stop({ forget: false });
    await world.advance(5_000);
    world.server.commit(USER, TON);
    await world.advance(100);
    assert.equal(mine.current.version, 1);
    assert.deepEqual(doubts([before, mine]), [0, 0]);
  });
}

test('a refresh while the new leader connects is answered as soon as it is connected', async (t) => {
  const world = new World(t);
  const [leader, ...others] = await opened(world, 3);
  leader.tab.crash();
  await world.advance(2);
  const beganMs = world.clock.nowMs;
  const took = others.map((client) => client.refresh().then(() => world.clock.nowMs - beganMs));
  await world.advance(25_000);
  for (const ms of await Promise.all(took)) assert.ok(ms < 1_000, `${ms} ms`);
});

test('the first balance over HTTP beside a live connection that has none does not cost it', async (t) => {
  const world = new World(t);
  world.server.isLedgerAway = 'unknown';
  const client = await world.live();
  await world.advance(5_000);
  world.server.isLedgerAway = false;
  await Promise.all([client.read(), world.advance(2_000)]);
  assert.deepEqual([client.current.status, client.current.isStale, world.server.sockets.length], ['live', false, 1]);
});

test('a page whose listener stops it, and that starts again, replaces no leader', async (t) => {
  const world = new World(t);
  const [leader, follower] = await opened(world, 2);
  forget([leader]);
  follower.subscribe(({ version }) => version === 1 && follower.stop({ forget: false }));
  world.server.commit(USER, TON);
  await world.advance(10_000);
  world.server.commit(USER, TON);
  follower.start();
  await world.advance(5_000);
  assert.deepEqual([doubts([leader]), world.server.sockets.length], [[0], 1]);
});

for (const as of [OTHER_USER, USER]) {
  test(`a page that cleans up after it was signed out does not sign out ${as}, who signs in elsewhere`, async (t) => {
    const world = new World(t);
    let user = USER;
    const getToken = async () => {
      await new Promise((resolve) => world.clock.setTimeout(resolve, 500));
      return world.token(user);
    };
    const first = await world.live({ tab: world.browser.tab(), getToken });
    const second = await world.live({ tab: world.browser.tab(), userId: USER });
    await world.advance(1_000);
    first.stop();
    user = as;
    first.start();
    await world.advance(100);
    assert.equal(second.current.status, 'unauthorized');
    second.stop();
    await world.advance(3_000);
    assert.deepEqual([first.current.status, first.current.userId], ['live', as]);
  });
}

test('a leader without a connection does not make stale what HTTP has told', async (t) => {
  const world = new World(t);
  world.server.isMute = true;
  const [leader, follower] = [0, 1].map(() => world.client({ tab: world.browser.tab() }));
  leader.start();
  await world.advance(100);
  follower.start();
  await world.advance(100);
  await Promise.all([follower.refresh(), world.advance(100)]);
  assert.equal(follower.current.isStale, false);
  leader.tab.crash();
  await world.advance(2_500);
  assert.equal(follower.current.isStale, false);
});

test('a value that init data has stored is the same user\'s when a token says so', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  const initData = new URLSearchParams({ user: JSON.stringify({ id: 777 }) }).toString();
  world.server.initDataUsers.set(initData, USER);
  world.server.commit(USER, TON);
  (await world.live({ storage, getInitData: () => initData })).stop({ forget: false });
  const client = world.client({ storage, userId: USER });
  client.start();
  const waited = client.waitFor(2);
  await world.advance(100);
  world.server.commit(USER, TON);
  await world.advance(100);
  assert.equal((await waited).version, 2);
  assert.deepEqual(client.states.slice(1).filter(({ balances }) => balances === null), []);
});

test('the stored value of a user without a key is replaced by the next user\'s', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  world.server.initDataUsers.set('one', USER).set('two', OTHER_USER);
  world.server.commit(USER, TON);
  (await world.live({ storage, getInitData: () => 'one' })).stop({ forget: false });
  await world.live({ storage, getInitData: () => 'two' });
  assert.deepEqual([...storage.items.values()].map((text) => JSON.parse(text).userId), [OTHER_USER]);
});
