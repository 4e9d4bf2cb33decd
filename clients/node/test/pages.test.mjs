// What the service gives page by page, from a fake that keeps to the protocol: its edges can be set here.

import assert from 'node:assert/strict';
import test from 'node:test';

import { broken, Fake, ok, problem, withoutJitter } from './support/fake.mjs';

const entry = (version) => ({ event_id: `e${version}`, user_id: 184, version });
const rejection = (promise) =>
  promise.then(
    () => assert.fail('it has succeeded'),
    (error) => error,
  );

test('a list is its first page when it is awaited, and all items when it is iterated', async (t) => {
  const page = ({ path }) => {
    const after = Number(new URL(path, 'http://x').searchParams.get('after') ?? 0);
    const balances = [1, 2, 3].map((place) => ({ user_id: after + place, version: 0, balances: {} }));
    return ok({ balances, next: after < 6 ? after + 3 : null });
  };
  const fake = await Fake.start(t, page);
  const ledger = fake.client();
  assert.deepEqual((await ledger.balances.list({ after: 3, limit: 3 })).next, 6);
  assert.equal(fake.requests[0].path, '/internal/v1/balances?limit=3&after=3');
  const users = [];
  for await (const { user_id } of ledger.balances.list()) users.push(user_id);
  assert.deepEqual(users, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(
    fake.requests.slice(1).map(({ path }) => path),
    ['', '?after=3', '?after=6'].map((query) => `/internal/v1/balances${query}`),
  );
  for await (const _ of ledger.balances.list()) break;
  assert.equal(fake.requests.length, 5, 'a page is read when it is needed');
  const refusing = await Fake.start(t, problem(422, 'invalid_field', { field: 'limit' }));
  assert.equal(
    await refusing
      .client()
      .balances.list({ limit: 0 })
      .catch(({ field }) => field),
    'limit',
  );
});

test('an entry is found by either name, and null when there is none', async (t) => {
  const fake = await Fake.start(
    t,
    ok({ ...entry(1), left: '1.0' }),
    problem(404, 'unknown_entry'),
    problem(404, 'unknown_entry'),
    problem(404, 'not_found'),
  );
  const ledger = fake.client();
  assert.equal((await ledger.entries.find({ event_id: 'a b+c' })).left, '1.0');
  assert.equal(await ledger.entries.find({ tx_hash: 'q/8+' }), null);
  assert.deepEqual(
    fake.requests.map(({ path }) => Object.fromEntries(new URL(path, 'http://x').searchParams)),
    [{ event_id: 'a b+c' }, { tx_hash: 'q/8+' }],
  );
  assert.equal(await ledger.entries.find({ event_id: 'e' }), null);
  assert.equal((await rejection(ledger.entries.find({ event_id: 'e' }))).code, 'not_found', 'no such endpoint is no "not here"');
});

test('the feed goes on from page to page, from the stored cursor, over breaks', async (t) => {
  withoutJitter(t);
  const page = (entries, next) => ok({ epoch: 'x', entries, next });
  const abort = new AbortController();
  const answers = [
    page([entry(1), entry(2)], 'c2'),
    broken,
    problem(503, 'shutting_down'),
    page([], 'c2'),
    page([entry(3)], 'c3'),
    problem(409, 'another_epoch'),
  ];
  const fake = await Fake.start(t, ...answers);
  const seen = [];
  const following = (async () => {
    for await (const { entries, next } of fake.client({ maxRetries: 0 }).feed({ after: 'c0', limit: 2, signal: abort.signal }))
      seen.push([entries.length, next]);
  })();
  assert.equal((await rejection(following)).code, 'another_epoch');
  assert.deepEqual(seen, [
    [2, 'c2'],
    [1, 'c3'],
  ]);
  const asked = fake.requests.map(({ path }) => Object.fromEntries(new URL(path, 'http://x').searchParams));
  assert.deepEqual(
    asked.map(({ after }) => after),
    ['c0', 'c2', 'c2', 'c2', 'c2', 'c3'],
  );
  assert.ok(asked.every(({ limit, wait_ms }) => limit === '2' && wait_ms === '25000'));
});

test('the cursor of now is given before the first entry', async (t) => {
  const fake = await Fake.start(t, ok({ epoch: 'x', entries: [], next: 'now' }), ok({ epoch: 'x', entries: [entry(9)], next: 'c9' }));
  const pages = [];
  for await (const page of fake.client().feed({ after: 'latest' })) {
    pages.push(page.next);
    if (page.entries.length) break;
  }
  assert.deepEqual(pages, ['now', 'c9']);
});

test('without following, the feed ends when there is no more', async (t) => {
  const fake = await Fake.start(t, ok({ epoch: 'x', entries: [entry(1)], next: 'c1' }), ok({ epoch: 'x', entries: [], next: 'c1' }));
  const pages = [];
  for await (const { next } of fake.client().feed({ follow: false })) pages.push(next);
  assert.deepEqual(pages, ['c1']);
  assert.deepEqual(
    fake.requests.map(({ path }) => path),
    ['?wait_ms=0', '?after=c1&wait_ms=0'].map((query) => `/internal/v1/feed${query}`),
  );
});

test('a feed that would ask without a pause is refused', async (t) => {
  const fake = await Fake.start(t, ok({ epoch: 'x', entries: [], next: 'c' }));
  for (const wait_ms of [0, -1, '1000', NaN]) await assert.rejects(fake.client().feed({ wait_ms }).next(), TypeError);
  assert.equal(fake.requests.length, 0);
});

test('a service that answers without waiting is not asked without a pause', async (t) => {
  t.mock.method(Math, 'random', () => 1);
  const fake = await Fake.start(t, (_, number) =>
    ok({ epoch: 'x', entries: number < 4 ? [] : [entry(1)], next: number < 4 ? 'c0' : 'c1' }),
  );
  const start = performance.now();
  for await (const { next } of fake.client().feed({ after: 'c0' })) {
    assert.equal(next, 'c1');
    break;
  }
  assert.equal(fake.requests.length, 5);
  assert.ok(performance.now() - start >= 4 * 190, 'four pauses of 200 ms');
});

test('a feed that waits is aborted at once, and its wait is no time-out', async (t) => {
  withoutJitter(t);
  const abort = new AbortController();
  const fake = await Fake.start(t, async (_, number) => {
    if (number > 0) return void setImmediate(() => abort.abort()) ?? { isSilent: true };
    await new Promise((resolve) => setTimeout(resolve, 300));
    return ok({ epoch: 'x', entries: [entry(1)], next: 'c1' });
  });
  const seen = [];
  const following = (async () => {
    for await (const page of fake.client({ timeoutMs: 100 }).feed({ wait_ms: 20_000, signal: abort.signal })) seen.push(page.next);
  })();
  assert.equal((await rejection(following)).name, 'AbortError');
  assert.deepEqual([seen, fake.requests.length], [['c1'], 2]);
});
