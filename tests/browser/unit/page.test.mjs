// What a page can do to the library: ask in a loop, set it up wrongly, hand its methods on.

import assert from 'node:assert/strict';
import test from 'node:test';
import { BalanceClient } from '../../../src/web/client/balance-client.js';
import { OTHER_USER, TON, USER, World } from './support/world.mjs';

const refusedBy = (code) => ({ name: 'BalanceError', code, isFinal: true });

test('a push that counts from less than this page has shown moves it by the difference alone', async (t) => {
  const world = new World(t);
  const client = await world.live();
  for (let n = 0; n < 3; n += 1) world.server.commit(USER, TON, { push: false });
  await Promise.all([client.refresh(), world.advance(50)]);
  assert.deepEqual([client.current.version, client.current.lastUpdate], [3, null]);
  // Another session of the user has not been sent these three.
  world.server.changesOf = (nano) => nano + 3 * TON;
  world.server.commit(USER, TON);
  await world.advance(50);
  const { balances, lastUpdate } = client.current;
  assert.deepEqual([balances.TON, lastUpdate.changes, lastUpdate.entries, lastUpdate.version], ['4.000000000', { TON: '1.000000000' }, 1, 4]);
});

test('a push of what a refresh has shown already is no change', async (t) => {
  const world = new World(t);
  const client = await world.live();
  world.server.delays = (data) => [data.includes('balance_update') ? 500 : 5];
  world.server.commit(USER, TON);
  await Promise.all([client.refresh(), world.advance(50)]);
  const { lastUpdate } = client.current;
  await world.advance(1_000);
  assert.deepEqual([client.current.version, client.current.lastUpdate], [1, lastUpdate]);
});

test('a service that takes less than is usual is heard: a refresh waits, and nothing is lost', async (t) => {
  const world = new World(t);
  Object.assign(world.server, { perS: 1, burst: 3 });
  const client = await world.live();
  const began = world.clock.nowMs;
  const refreshed = [];
  const run = (async () => {
    for (let n = 0; n < 12; n += 1) refreshed.push((await client.refresh()).error);
  })();
  await Promise.all([run, world.advance(60_000)]);
  assert.deepEqual([refreshed.length, refreshed.filter(Boolean).length], [12, 0]);
  assert.equal(world.server.thrownOff, 0);
  assert.ok(world.clock.nowMs - began <= 60_000);
});

test('the methods may be handed on as handlers, with an event or with nothing in the place of their options', async (t) => {
  const world = new World(t);
  const { start, stop, refresh, read, waitFor, current } = world.client();
  assert.equal(current.status, 'closed');
  start(new Event('click'));
  await world.advance(100);
  world.server.commit(USER, TON, { push: false });
  const [asked] = await Promise.all([refresh(new Event('click')), world.advance(100)]);
  assert.equal(asked.version, 1);
  for (const options of [undefined, null, {}]) {
    assert.equal((await Promise.all([refresh(options), world.advance(100)]))[0].version, 1);
    assert.equal((await read(options)).version, 1);
    assert.equal((await waitFor(1, options)).version, 1);
  }
  stop(new Event('click'));
  assert.deepEqual(world.clients[0].current.balances, null);
});

test('waitFor() of no version says so at once, and of another user\'s version never resolves', async (t) => {
  const world = new World(t);
  let user = USER;
  for (let n = 0; n < 5; n += 1) world.server.commit(OTHER_USER, TON);
  const client = await world.live({ getToken: () => world.token(user) });
  for (const version of [undefined, null, '1', NaN, 1.5]) await assert.rejects(client.waitFor(version), refusedBy('invalid_options'));
  const waiting = assert.rejects(client.waitFor(3, { timeoutMs: 60_000 }), { code: 'wrong_user' });
  user = OTHER_USER;
  world.server.closeAll(4501, 'token_expired');
  await Promise.all([waiting, world.advance(1_000)]);
  assert.deepEqual([client.current.userId, client.current.version], [OTHER_USER, 5]);
  const late = assert.rejects(client.waitFor(9, { timeoutMs: null }), { code: 'timeout' });
  await Promise.all([late, world.advance(10_000)]);
});

test('refresh() and read() take a time and a signal', async (t) => {
  const world = new World(t);
  const client = await world.live();
  world.server.isMute = true;
  const [late] = await Promise.all([client.refresh({ timeoutMs: 300 }), world.advance(300)]);
  assert.deepEqual([late.error.code, late.version, client.current.error], ['timeout', 0, null]);
  const abort = new AbortController();
  const broken = assert.rejects(client.refresh({ signal: abort.signal }), /enough/);
  abort.abort(new Error('enough'));
  await Promise.all([broken, world.advance(1)]);
  await assert.rejects(client.read({ signal: AbortSignal.abort(new Error('never')) }), /never/);
});

test('what can be known to be wrong is said by the constructor', () => {
  const getToken = () => null;
  const at = (href, url) => () => new BalanceClient({ url, getToken, env: { location: { href } } });
  const page = 'https://app.example/page';
  for (const [href, url, code, words] of [
    [page, 'http://balance.example', 'insecure_url', /use https/],
    [page, 'ws://balance.example', 'insecure_url', /use https/],
    [page, 'bal.test:8443', 'invalid_url', /has to begin with https/],
    [page, 'localhost:8080', 'invalid_url', /has to begin with https/],
    [page, 'https://balance.example/?key=1', 'invalid_url', /no query/],
    [page, 'https://balance.example/#top', 'invalid_url', /no fragment/],
    [page, 'https://user:secret@balance.example/', 'invalid_url', /no user name/],
    [page, 'https://', 'invalid_url', /an address/],
    [page, '', 'invalid_url', /an address/],
    [page, null, 'invalid_url', /an address/],
    ['https://app.example/page?user=7', '', 'invalid_url', /an address/],
    ['about:blank', '/', 'invalid_url', /an address/],
  ]) {
    assert.throws(at(href, url), { ...refusedBy(code), message: words }, url);
  }
  for (const [href, url] of [[page, 'https://b.example'], [page, '/'], [page, 'http://localhost:8080'], [page, 'http://127.0.0.1:8080'], ['http://app.example/', 'http://b.example']]) {
    assert.doesNotThrow(at(href, url), url);
  }
});

test('what waiting can not cure is not tried again, and start() or refresh() is', async (t) => {
  const world = new World(t);
  for (const [options, code] of [
    [{ getInitData: () => Telegram.WebApp.initData }, 'init_data_failed'],
    [{ getToken: () => tokne }, 'token_failed'],
    [{ getToken: async () => ({ token: world.token() }) }, 'invalid_token'],
  ]) {
    let calls = 0;
    const [name, ask] = Object.entries(options)[0];
    const client = world.client({ getToken: undefined, [name]: () => (calls += 1) && ask() });
    client.start();
    await world.advance(60_000);
    const { status, error } = client.current;
    assert.deepEqual([status, error.code, error.isFinal, calls], ['misconfigured', code, true, 1]);
    if (code !== 'invalid_token') assert.equal(error.cause.name, 'ReferenceError');
    assert.equal(world.server.openSockets.length, 0);
    await Promise.all([client.refresh(), world.advance(10)]);
    assert.equal(calls, 2);
  }
});

test('a token endpoint that is down is asked once for each attempt, and its error is told as it was', async (t) => {
  const world = new World(t, { random: () => 1 });
  let calls = 0;
  const cause = new Error('HTTP 500');
  const client = world.client({ getToken: () => ((calls += 1), Promise.reject(cause)) });
  const attempts = [];
  client.onConnection(({ type, waitMs }) => type === 'retrying' && attempts.push(waitMs));
  client.start();
  await world.advance(60_000);
  const reading = setInterval(() => client.read());
  clearInterval(reading);
  await Promise.all([client.read(), world.advance(0)]);
  assert.equal(calls, attempts.length);
  const { status, error } = client.current;
  assert.deepEqual([status, error.code, error.cause, error.isFinal], ['offline', 'token_failed', cause, false]);
});

test('a token may have white space around it; what is no token is said to be none', async (t) => {
  const world = new World(t);
  const client = await world.live({ getToken: () => ` ${world.token()}\n` });
  assert.equal(client.current.status, 'live');
  const lost = await world.live({ getToken: () => '<!doctype html>' });
  assert.deepEqual([lost.current.status, lost.current.error.code], ['offline', 'invalid_token']);
});

test('no sentence of a browser or a proxy becomes a code', async (t) => {
  const world = new World(t);
  const client = await world.live();
  world.server.closeAll(1011, 'upstream went away, sorry');
  await world.advance(10);
  const { error } = client.current;
  assert.deepEqual([error.code, error.message], ['connection_lost', 'closed with 1011 (upstream went away, sorry)']);
  client.tab.env.fetch = async () => new Response('{"code":"Bad Gateway!","detail":"nginx"}', { status: 502 });
  await Promise.all([client.read(), world.advance(4_000)]);
});

test('the connection tells what it does and why, to a listener or to the console', async (t) => {
  const world = new World(t);
  const events = [];
  const client = world.client({ debug: (event) => events.push(event) });
  client.start();
  await world.advance(100);
  world.server.closeAll(1001, 'going_away');
  await world.advance(10);
  client.stop();
  const told = events.map(({ type, status, code, reason }) => [type, status ?? reason ?? null, code ?? null].join(' ').trim());
  assert.deepEqual(events.map(({ type }) => type), ['status', 'credential_asked', 'opening', 'live', 'status', 'lost', 'retrying', 'status', 'status']);
  assert.ok(told.includes('lost going_away going_away'), told.join('\n'));
  assert.ok(events.every(({ at }) => !Number.isNaN(Date.parse(at))));
});

test('without a document nothing is started: no timer, no token, no connection', async (t) => {
  const world = new World(t);
  let calls = 0;
  const tab = world.browser.tab();
  tab.env.document = undefined;
  const client = world.client({ tab, getToken: () => (calls += 1) && null });
  client.start();
  await world.advance(60_000);
  assert.deepEqual([calls, client.current.status, world.server.sockets.length, world.clock.pendingCount], [0, 'closed', 0, 0]);
  assert.equal((await client.refresh()).status, 'closed');
});
