import assert from 'node:assert/strict';
import test from 'node:test';
import { MemoryStorage } from './support/browser.mjs';
import { OTHER_USER, TON, USER, World } from './support/world.mjs';

/** A client whose WebSocket is blocked after it was live once. */
async function cutOff(world, options) {
  const client = await world.live(options);
  world.server.isWsBlocked = true;
  world.server.closeAll(1001, 'going_away');
  await world.advance(10);
  return client;
}

test('without a WebSocket the balance is read over HTTP, at the pace of the cache policy', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await cutOff(world);
  world.server.commit(USER, TON);
  await world.advance(4_000);
  assert.deepEqual([client.current.version, client.current.isStale, client.current.status], [1, false, 'offline']);
  const { length } = world.server.requests;
  await world.advance(600_000);
  const reads = world.server.requests.length - length;
  assert.ok(reads >= 7 && reads <= 10, `${reads} reads in 10 minutes with a ttl of 60 s`);
});

test('a fresh value is not read again', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await cutOff(world);
  await Promise.all([client.refresh(), world.advance(50)]);
  const { length } = world.server.requests;
  world.server.commit(USER, TON);
  const [state] = await Promise.all([client.read(), world.advance(100)]);
  assert.equal(state.version, 0);
  assert.equal(world.server.requests.length, length);
});

test('a value past its time is shown while a new one is fetched, an older one is waited for', async (t) => {
  const world = new World(t, { random: () => 1 });
  world.server.clientCache = { ttl_ms: 200, stale_while_revalidate_ms: 300, min_age_ms: 50 };
  const client = await cutOff(world);
  await Promise.all([client.refresh(), world.advance(50)]);
  world.server.commit(USER, TON);
  await world.advance(200);
  const behind = client.read();
  assert.equal((await behind).version, 0);
  await world.advance(50);
  assert.equal(client.current.version, 1);
  world.server.commit(USER, TON);
  await world.advance(550);
  const [waited] = await Promise.all([client.read(), world.advance(50)]);
  assert.equal(waited.version, 2);
});

test('within the minimum age nothing is asked twice, but for a forced refresh', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await cutOff(world);
  await world.advance(30);
  client.read();
  await world.advance(50);
  world.server.isDown = true;
  client.tab.fire('offline');
  await world.advance(3_000);
  const { length } = world.server.requests;
  client.read();
  client.read();
  await world.advance(50);
  client.read();
  await world.advance(50);
  assert.ok(world.server.requests.length - length <= 1);
  const before = world.server.requests.length;
  await Promise.all([client.refresh(), world.advance(50)]);
  assert.equal(world.server.requests.length, before + 1);
});

test('a live balance is never read over HTTP', async (t) => {
  const world = new World(t);
  const client = await world.live();
  await world.advance(3_600_000);
  await client.read();
  assert.equal(world.server.requests.length, 0);
});

test('a refused HTTP read fetches another token for the next one', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await cutOff(world);
  world.server.refused.add(world.server.messages[0].token);
  const [refused] = await Promise.all([client.refresh(), world.advance(50)]);
  assert.equal(refused.error.code, 'unauthorized');
  const [state] = await Promise.all([client.refresh(), world.advance(50)]);
  assert.equal(state.isStale, false);
});

test('no HTTP cache is asked, which might know another user by the same address', async (t) => {
  const world = new World(t);
  const client = await cutOff(world);
  const inits = [];
  const { fetch } = client.tab.env;
  client.tab.env.fetch = (url, init) => inits.push(init) && fetch(url, init);
  await Promise.all([client.refresh(), world.advance(50)]);
  assert.equal(inits[0].cache, 'no-store');
});

test('after a reload the last value is shown at once, as stale, until the first snapshot', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  world.server.commit(USER, TON);
  const before = await world.live({ storage });
  before.stop({ forget: false });
  world.server.commit(USER, TON);
  const client = world.client({ storage });
  client.start();
  await world.advance(0);
  const { status, version, balances, isStale, asOf } = client.current;
  assert.deepEqual([status, version, balances.TON, isStale], ['connecting', 1, '1.000000000', true]);
  assert.ok(Date.parse(asOf) > 0);
  await world.advance(100);
  assert.deepEqual([client.current.status, client.current.version, client.current.isStale], ['live', 2, false]);
});

test('a page that says who the user is sees the last value without waiting for a token', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  world.server.commit(USER, TON);
  (await world.live({ storage })).stop({ forget: false });
  const client = world.client({ storage, userId: USER, getToken: () => new Promise(() => {}) });
  client.start();
  assert.equal(client.current.balances.TON, '1.000000000');
});

test('a stored value is never shown to another user, and does not outlive the change', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  world.server.commit(USER, TON);
  (await world.live({ storage })).stop({ forget: false });
  assert.equal(storage.items.size, 1);
  const client = world.client({ storage, userId: OTHER_USER, getToken: () => world.token(OTHER_USER) });
  client.start();
  assert.equal(storage.items.size, 0);
  await world.advance(100);
  assert.ok(client.states.every(({ balances }) => balances === null || balances.TON === '0.000000000'));
  assert.ok([...storage.items.values()].every((text) => JSON.parse(text).userId === OTHER_USER));
});

test('a sign-out takes the stored value with it', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  const client = await world.live({ storage });
  assert.equal(storage.items.size, 1);
  client.stop();
  assert.equal(storage.items.size, 0);
  await world.advance(100);
  assert.equal(storage.items.size, 0);
});

test('without storage nothing is kept', async (t) => {
  const world = new World(t);
  const tab = world.browser.tab({ hasLocks: false });
  tab.env.localStorage = tab.env.sessionStorage = new MemoryStorage();
  await world.live({ tab });
  assert.equal(tab.env.localStorage.items.size, 0);
});

test('storage that is full, forbidden or broken costs nothing but the convenience', async (t) => {
  const world = new World(t);
  const failing = () => {
    throw new DOMException('no', 'QuotaExceededError');
  };
  const client = await world.live({ storage: { getItem: failing, setItem: failing, removeItem: failing } });
  assert.equal(client.current.status, 'live');
  client.stop();
  for (const text of ['', '{', 'null', '7', '{"key":"u184"}', `{"key":"u184","userId":184,"epoch":"e1","version":1,"balances":{"TON":1}}`]) {
    const storage = { getItem: () => text, setItem() {}, removeItem() {} };
    const other = await world.live({ storage });
    assert.ok(other.states.every(({ balances }) => balances === null || balances.TON === '0.000000000'), text);
    other.stop();
  }
});

test('a stored value of an epoch that is over gives way to the first snapshot', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  for (let entry = 0; entry < 5; entry += 1) world.server.commit(USER, TON);
  (await world.live({ storage })).stop({ forget: false });
  world.server.restore('e2', USER, 1, TON);
  const client = await world.live({ storage });
  assert.deepEqual([client.current.epoch, client.current.version], ['e2', 1]);
});
