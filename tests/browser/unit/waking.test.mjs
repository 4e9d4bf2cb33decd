import assert from 'node:assert/strict';
import test from 'node:test';
import { TON, USER, World } from './support/world.mjs';

test('a silent connection is noticed and made again', async (t) => {
  const world = new World(t);
  const client = await world.live();
  await world.advance(25_000);
  assert.equal(world.server.sent('ping').length, 1);
  await world.advance(10_000);
  assert.equal(client.current.status, 'live');
  world.server.isMute = true;
  await world.advance(25_000);
  assert.equal(client.current.status, 'live');
  await world.advance(10_000);
  assert.deepEqual([client.current.status, client.current.error.code], ['offline', 'heartbeat_lost']);
  world.server.isMute = false;
  await world.advance(1_000);
  assert.equal(client.current.status, 'live');
});

test('the heartbeat keeps the pace that hello tells', async (t) => {
  const world = new World(t);
  world.server.heartbeatMs = 1_000;
  await world.live();
  await world.advance(20_000);
  const { length } = world.server.sent('ping');
  assert.ok(length >= 9 && length <= 20, `${length}`);
});

test('a page that is shown again, a network that returns and Telegram check the connection at once', async (t) => {
  const world = new World(t);
  const client = await world.live();
  const { tab } = client;
  for (const wake of [() => tab.fire('online'), () => tab.fire('pageshow'), () => tab.show(), () => tab.telegram.get('activated')()]) {
    const { length } = world.server.sent('ping');
    wake();
    await world.advance(100);
    assert.equal(world.server.sent('ping').length, length + 1);
    await world.advance(11_000); // to the end of the check
  }
  tab.hide();
  await world.advance(100);
  assert.equal(world.server.sent('ping').length, 4, 'a page that is hidden checks nothing');
});

for (const isCut of [false, true]) {
  test(`a page that was frozen for long ${isCut ? 'and has lost its connection ' : ''}does not call its balance live until one comes`, async (t) => {
    const world = new World(t);
    const client = await world.live();
    client.tab.freeze();
    await world.advance(1_000);
    world.server.commit(USER, TON);
    await world.advance(7_200_000);
    world.server.isMute = isCut;
    client.states.length = 0;
    client.tab.document.visibilityState = 'visible';
    client.tab.isFrozen = false;
    client.tab.document.dispatchEvent(new Event('visibilitychange'));
    assert.deepEqual([client.current.version, client.current.isStale], [0, true]);
    if (!isCut) client.tab.thaw();
    await world.advance(200);
    const seen = isCut ? [0, true, 'connecting'] : [1, false, 'live'];
    assert.deepEqual([client.current.version, client.current.isStale, client.current.status], seen);
    world.server.isMute = false;
    await world.advance(12_000);
    assert.deepEqual([client.current.version, client.current.isStale, client.current.status], [1, false, 'live']);
    assert.ok(client.states.every(({ version, isStale }) => version === 1 || isStale));
  });
}

test('a listener may stop a client that wakes', async (t) => {
  const world = new World(t);
  const tabs = [world.browser.tab(), world.browser.tab()];
  await world.live({ tab: tabs[0] });
  const client = await world.live({ tab: tabs[1] });
  client.onConnection(({ type }) => type === 'slept' && client.stop());
  tabs[1].freeze();
  await world.advance(600_000);
  tabs[1].isFrozen = false;
  tabs[1].telegram.get('activated')();
  assert.equal(client.current.status, 'closed');
});

test('a page that was in the background for minutes keeps its connection', async (t) => {
  const world = new World(t);
  const client = await world.live();
  client.tab.freeze();
  await world.advance(150_000); // its heartbeat has come late
  client.states.length = 0;
  client.tab.thaw();
  client.tab.show();
  await world.advance(1_000);
  assert.deepEqual([client.current.status, client.states.length], ['live', 0]);
});

test('a wake ends the wait of the back-off', async (t) => {
  const world = new World(t, { random: () => 1 });
  world.server.isDown = true;
  const client = world.client();
  client.start();
  await world.advance(20_000);
  world.server.isDown = false;
  client.tab.show();
  await world.advance(50);
  assert.equal(client.current.status, 'live');
});

test('wakes one after the other do not put off the end of a dead connection', async (t) => {
  const world = new World(t);
  const client = await world.live();
  world.server.isMute = true;
  for (let second = 0; second < 12; second += 1) {
    client.tab.show();
    await world.advance(1_000);
  }
  assert.notEqual(client.current.status, 'live');
});

test('offline and online: the end value is shown once, and nothing between', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const client = await world.live();
  client.tab.fire('offline');
  assert.deepEqual([client.current.status, client.current.isStale, client.current.balances.TON], ['offline', true, '1.000000000']);
  world.server.isDown = true;
  await world.advance(5_000);
  for (let deposit = 0; deposit < 3; deposit += 1) world.server.commit(USER, TON);
  world.server.isDown = false;
  client.states.length = 0;
  client.tab.fire('online');
  await world.advance(100);
  assert.deepEqual(client.states.map(({ version }) => version).filter((version) => version !== 1), [4]);
});
