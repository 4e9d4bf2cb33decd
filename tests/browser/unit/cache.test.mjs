import assert from 'node:assert/strict';
import test from 'node:test';
import { MemoryStorage } from './support/browser.mjs';
import { OTHER_USER, TON, USER, World } from './support/world.mjs';

/** A client whose WebSocket is blocked after it was live once. */
async function cutOff(world, options) {
  const client = await world.live(options);
  await world.cutOff();
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

test('without a WebSocket and without a token what is shown does not stay fresh', async (t) => {
  for (const answer of [() => Promise.reject(new Error('no')), () => new Promise(() => {})]) {
    const world = new World(t, { random: () => 1 });
    let getToken = () => world.token(USER, 120_000);
    const client = await world.live({ getToken: () => getToken() });
    await world.cutOff();
    await world.advance(100_000);
    assert.deepEqual([client.current.isStale, client.current.status], [false, 'offline'], 'polled');
    getToken = answer;
    world.server.commit(USER, TON);
    await world.advance(240_000);
    assert.deepEqual([client.current.version, client.current.isStale], [0, true]);
    const [state] = await Promise.all([client.read(), world.advance(100)]);
    assert.equal(state.isStale, true);
    getToken = () => world.token(USER);
    await world.advance(30_000);
    assert.deepEqual([client.current.version, client.current.isStale], [1, false]);
    client.stop();
  }
});

test('what was read before the machine slept is old', async (t) => {
  const world = new World(t, { random: () => 1 });
  const client = await cutOff(world);
  await Promise.all([client.refresh(), world.advance(50)]);
  assert.equal(client.current.isStale, false);
  world.server.commit(USER, TON);
  world.server.isDown = true;
  world.clock.wallOffsetMs += 7_200_000; // the monotonic clock has slept, too
  await world.advance(20_000);
  assert.deepEqual([client.current.version, client.current.isStale], [0, true]);
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

test('storage that the browser forbids is done without when the page leaves it to the client', async (t) => {
  const world = new World(t);
  const forbidden = () => {
    throw new DOMException('no', 'SecurityError');
  };
  assert.equal((await world.live({ storage: forbidden })).current.status, 'live');
  const storage = new MemoryStorage();
  (await world.live({ storage: () => storage })).stop({ forget: false });
  assert.equal(storage.items.size, 1);
});

test('a value that can not be replaced in storage is not shown after a later one', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  const client = await world.live({ storage });
  assert.equal(storage.items.size, 1);
  storage.setItem = () => {
    throw new DOMException('full', 'QuotaExceededError');
  };
  world.server.commit(USER, TON);
  await world.advance(6_000);
  assert.deepEqual([client.current.version, storage.items.size], [1, 0]);
});

test('a stored version of an epoch that is over is not what waitFor waits for', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  for (let entry = 0; entry < 5; entry += 1) world.server.commit(USER, TON);
  (await world.live({ storage })).stop({ forget: false });
  world.server.restore('e2', USER, 1, TON);
  const client = world.client({ storage, userId: USER });
  world.server.isLedgerAway = 'unknown';
  client.start();
  assert.equal(client.current.version, 5);
  const empty = world.client();
  empty.start();
  const timeout = { code: 'timeout' };
  const early = [client.waitFor(2, { timeoutMs: 3_000 }), empty.waitFor(0, { timeoutMs: 3_000 })];
  const refused = Promise.all(early.map((one) => assert.rejects(one, timeout)));
  await world.advance(3_000);
  await refused;
  world.server.isLedgerAway = false;
  const late = assert.rejects(client.waitFor(2, { timeoutMs: 3_000 }), timeout);
  await world.advance(3_000);
  await late;
  assert.deepEqual([client.current.epoch, client.current.version], ['e2', 1]);
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

test('a value that another tab has stored meanwhile is not replaced by one from before it', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  world.server.commit(USER, TON);
  world.server.isWsBlocked = true;
  const client = world.client({ storage, tab: world.browser.tab({ hasLocks: false }) });
  client.start();
  world.server.httpLatencyMs = 6_000;
  const refreshed = client.refresh();
  await world.advance(50);
  world.server.restore('e2', USER, 0, 0);
  world.server.isWsBlocked = false;
  const other = await world.live({ storage });
  assert.equal(other.current.epoch, 'e2');
  world.server.isMute = true;
  await world.advance(20_000);
  assert.equal((await refreshed).epoch, 'e2');
  assert.ok(client.states.every(({ epoch }) => epoch !== 'e1'));
});

test('a stored value from a clock that was ahead gives way to the service all the same', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  world.server.commit(USER, TON);
  const first = await world.live({ storage });
  first.stop({ forget: false });
  const [[name, text]] = storage.items;
  storage.setItem(name, JSON.stringify({ ...JSON.parse(text), adoptedMs: 9e15 }));
  world.server.restore('e2', USER, 0, 0);
  const client = await world.live({ storage });
  assert.deepEqual([client.current.epoch, client.current.status, client.current.isStale], ['e2', 'live', false]);
});

/** A page that says it is the first user's, whose balance is stored, and whose token is the other's. */
async function mistaken(world, options) {
  const storage = new MemoryStorage();
  for (let entry = 0; entry < 5; entry += 1) world.server.commit(USER, TON);
  (await world.live({ storage })).stop({ forget: false });
  Object.assign(world.server, options);
  const client = world.client({ storage, userId: USER, as: OTHER_USER });
  client.start();
  assert.equal(client.current.version, 5);
  return { client, storage };
}

test('a stored value that the page restored for a wrong user is gone with the first token', async (t) => {
  for (const way of ['isWsBlocked', 'isDown']) {
    const world = new World(t);
    const { client, storage } = await mistaken(world, { [way]: true });
    await world.advance(100);
    assert.equal(client.current.balances, null, way);
    assert.equal(storage.items.size, 0);
  }
  const world = new World(t);
  const { client } = await mistaken(world, { isWsBlocked: true });
  const [state] = await Promise.all([client.refresh(), world.advance(200)]);
  assert.deepEqual([state.userId, state.version, state.error], [OTHER_USER, 0, null]);
});

test('a sign-out reaches a tab that shows a stored value and has no token yet', async (t) => {
  const world = new World(t);
  const storage = new MemoryStorage();
  world.server.commit(USER, TON);
  (await world.live({ tab: world.browser.tab(), storage })).stop({ forget: false });
  world.server.isDown = true;
  const first = world.client({ tab: world.browser.tab() });
  first.start();
  const getToken = () => Promise.reject(new Error('no network'));
  const second = world.client({ tab: world.browser.tab(), storage, userId: USER, getToken });
  second.start();
  await world.advance(5_000);
  assert.equal(second.current.version, 1);
  first.stop(); // it knows its token, and no balance
  await world.advance(100);
  assert.deepEqual([second.current.status, second.current.balances], ['unauthorized', null]);
});

test('a tab that is behind does not replace what another has stored', async (t) => {
  for (const epoch of ['e1', 'e2']) {
    const world = new World(t);
    const storage = new MemoryStorage();
    const behind = await world.live({ storage });
    behind.tab.freeze();
    world.server.commit(USER, TON); // its push waits in the frozen tab
    const client = await world.live({ storage });
    world.server.commit(USER, TON);
    if (epoch === 'e2') world.server.restore('e2', USER, 1, TON);
    await world.advance(2_000);
    const { version } = client.current;
    world.server.isMute = true;
    behind.tab.thaw();
    client.states.length = 0;
    client.stop({ forget: false });
    client.start();
    await world.advance(100);
    assert.deepEqual([client.current.epoch, client.current.version], [epoch, version]);
    assert.ok(client.states.every((state) => state.version === null || state.epoch === epoch));
  }
});

test('an answer that a frozen page takes much later is none', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.blocked();
  const refreshed = client.refresh();
  await world.advance(2);
  client.tab.freeze();
  await world.advance(3_600_000);
  world.server.commit(USER, TON);
  await client.tab.thawSlowly();
  await world.advance(0);
  assert.equal((await refreshed).error.code, 'timeout');
  assert.equal(client.current.isStale, true);
  const [state] = await Promise.all([client.read(), world.advance(1_000)]);
  assert.equal(state.version, 2);
});
