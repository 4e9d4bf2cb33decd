// The connection that is begun before the token is there, by the client or by the head of a page.

import assert from 'node:assert/strict';
import test from 'node:test';
import { World } from './support/world.mjs';

const shared = (world) => ({ tab: world.browser.tab() });

test('the handshake does not wait for the token, and a tab with a connection to share opens none', async (t) => {
  const world = new World(t);
  let give;
  const first = world.client({ ...shared(world), getToken: () => new Promise((resolve) => (give = resolve)) });
  first.start();
  await world.advance(100);
  assert.deepEqual(world.server.sockets.map(({ readyState }) => readyState), [1]);
  give(world.token());
  await world.advance(12);
  assert.deepEqual([first.current.status, world.server.sockets.length], ['live', 1]);
  const second = await world.live(shared(world));
  assert.deepEqual([second.current.status, world.server.sockets.length], ['live', 1]);
});

test('a connection that the head of the page began is taken over once, when it is to the same address and not closed', async (t) => {
  for (const [url, waitMs, isTaken] of [
    ['wss://balance.example/ws', 0, true],
    ['wss://balance.example/ws', 1_000, true],
    ['wss://other.example/ws', 0, false],
    ['wss://balance.example/ws', -1, false],
  ]) {
    const world = new World(t);
    const tab = world.browser.tab();
    const begun = (tab.env.balanceSocket = new tab.env.WebSocket(url, 'balance.v1'));
    if (waitMs < 0) begun.close();
    await world.advance(Math.max(waitMs, 0));
    const client = await world.live({ tab });
    assert.equal(client.current.status, 'live');
    assert.deepEqual([world.server.sockets.length, begun.userId !== null], isTaken ? [1, true] : [2, false], `${url} after ${waitMs} ms`);
    // The next connection is one of its own.
    world.server.openSockets.forEach((socket) => socket.end(1006, ''));
    await world.advance(30_000);
    assert.equal(client.current.status, 'live');
    assert.equal(world.server.sockets.length, isTaken ? 2 : 3);
    client.stop();
  }
});

test('a connection that the head of the page began is closed when another tab has one, and left alone when it is another service\'s', async (t) => {
  const world = new World(t);
  await world.live(shared(world));
  const tab = world.browser.tab();
  const begun = (tab.env.balanceSocket = new tab.env.WebSocket('wss://balance.example/ws', 'balance.v1'));
  const client = await world.live({ tab });
  assert.deepEqual([client.current.status, begun.readyState, tab.env.balanceSocket], ['live', 3, null]);
  const others = world.browser.tab();
  const another = (others.env.balanceSocket = new others.env.WebSocket('wss://other.example/ws', 'balance.v1'));
  await world.live({ tab: others });
  assert.deepEqual([another.readyState, others.env.balanceSocket], [1, another]);
  assert.equal(world.server.sessions.size, 1);
});

test('a head that begins its connection while the library looks for other tabs makes no second one', async (t) => {
  for (const waitMs of [0, 20]) {
    const world = new World(t);
    const tab = world.browser.tab();
    const { query } = tab.env.navigator.locks;
    // As the head of the demo page: it asks first whether another tab has a connection.
    tab.env.navigator.locks.query = async () => {
      if (waitMs) await new Promise((resolve) => world.clock.setTimeout(resolve, waitMs));
      tab.env.balanceSocket ??= new tab.env.WebSocket('wss://balance.example/ws', 'balance.v1');
      return query();
    };
    const client = await world.live({ tab });
    assert.deepEqual([client.current.status, tab.env.balanceSocket, world.server.openSockets.length], ['live', null, 1]);
  }
});

test('a handshake that was not needed is given up', async (t) => {
  const world = new World(t);
  const client = await world.live({ getToken: () => null });
  assert.deepEqual([client.current.status, world.server.openSockets.length], ['unauthorized', 0]);
});
