import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import { PostAllError } from '@balance-coordinator/node';
import { broken, Fake, ok, problem, reward, withoutJitter } from './support/fake.mjs';
import { Service, withService } from './support/service.mjs';

const rejection = (promise) =>
  promise.then(
    () => assert.fail('it has succeeded'),
    (error) => error,
  );
const item = (number, more = {}) => ({ kind: 'reward', ...reward(`e${number}`, { user_id: number + 1, ...more }) });
const items = (count, more) => Array.from({ length: count }, (_, number) => item(number, more));

/** Answers a batch as the service does: every item is accepted unless `judge` says otherwise. */
const accepting =
  (judge = () => ({})) =>
  ({ json }) => {
    const results = json.entries.map((entry, index) => ({
      index,
      event_id: entry?.event_id,
      status: 'accepted',
      version: 1,
      ...judge(entry),
    }));
    return ok({ accepted: 0, duplicates: 0, rejected: 0, results });
  };
const sizes = (fake) => fake.requests.map(({ json }) => json.entries.length);

test('any iterable is taken, and cut by items', async (t) => {
  for (const iterable of [
    items(25),
    new Set(items(25)),
    (function* () {
      yield* items(25);
    })(),
    (async function* () {
      yield* items(25);
    })(),
    items(25).map(async (entry) => entry),
  ]) {
    const fake = await Fake.start(t, accepting());
    const summary = await fake.client().entries.postAll(iterable, { itemsMax: 10, concurrency: 1 });
    assert.deepEqual(summary, { read: 25, accepted: 25, duplicates: 0, rejected: 0, rejections: [], unanswered: [] });
    assert.deepEqual(sizes(fake), [10, 10, 5]);
    assert.deepEqual(
      fake.requests.flatMap(({ json }) => json.entries),
      items(25),
    );
  }
  const none = await Fake.start(t, accepting());
  assert.equal((await none.client().entries.postAll([])).read, 0);
  assert.equal(none.requests.length, 0);
  for (const wrong of [undefined, null, 5, {}]) await assert.rejects(none.client().entries.postAll(wrong), TypeError);
});

test('batches are cut by their bytes, as they are on the wire', async (t) => {
  const fake = await Fake.start(t, accepting());
  const entries = items(40, { metadata: { text: 'жжж' } });
  await fake.client().entries.postAll(entries, { bytesMax: 1_000 });
  assert.ok(fake.requests.every(({ text }) => Buffer.byteLength(text) <= 1_000));
  const each = Buffer.byteLength(JSON.stringify(entries[39])) + 1;
  assert.ok(fake.requests.length <= Math.ceil((40 * each) / (1_000 - 2 * each)), `${fake.requests.length} batches`);
  // One alone may be larger.
  await fake.client().entries.postAll(items(3), { bytesMax: 10 });
  assert.deepEqual(sizes(fake).slice(-3), [1, 1, 1]);
});

test('a service that takes less gets less, and what fits nowhere is rejected alone', async (t) => {
  const takes = (most) => (request) => (request.json.entries.length > most ? problem(422, 'batch_too_large') : accepting()(request));
  const few = await Fake.start(t, takes(3));
  assert.equal((await few.client().entries.postAll(items(40), { itemsMax: 10, concurrency: 1 })).accepted, 40);
  assert.deepEqual(
    sizes(few).filter((size) => size > 3),
    [10, 5],
    'what was refused',
  );

  const small = await Fake.start(t, (request) => (request.text.length > 400 ? { status: 413, body: 'a proxy' } : accepting()(request)));
  const entries = items(20);
  entries[7].metadata = { text: 'x'.repeat(500) };
  const summary = await small.client().entries.postAll(entries);
  assert.deepEqual([summary.accepted, summary.rejections.map(({ index, event_id }) => [index, event_id])], [19, [[7, 'e7']]]);
  assert.equal(summary.rejections[0].entry, entries[7]);
});

test('several batches are on their way at once, and no more than asked for', async (t) => {
  let [running, most] = [0, 0];
  const fake = await Fake.start(t, async (request) => {
    most = Math.max(most, (running += 1));
    await turn();
    await turn();
    running -= 1;
    return accepting()(request);
  });
  await fake.client().entries.postAll(items(300), { itemsMax: 10, concurrency: 3 });
  assert.equal(most, 3);
});

test('entries of one user are never in two batches at once', async (t) => {
  const running = new Set();
  const twice = [];
  let most = 0;
  const fake = await Fake.start(t, async (request) => {
    const users = new Set(request.json.entries.map(({ user_id }) => user_id));
    twice.push(...[...users].filter((user) => running.has(user)));
    for (const user of users) running.add(user);
    most = Math.max(most, running.size);
    await turn();
    for (const user of users) running.delete(user);
    return accepting()(request);
  });
  const entries = Array.from({ length: 400 }, (_, number) => item(number, { user_id: 1 + ((number * 7) % 20) }));
  await fake.client().entries.postAll(entries, { itemsMax: 8, concurrency: 4 });
  assert.deepEqual(twice, []);
  assert.ok(most > 8, 'others are sent meanwhile');
  const sent = (user) =>
    fake.requests
      .flatMap(({ json }) => json.entries)
      .filter(({ user_id }) => user_id === user)
      .map(({ event_id }) => event_id);
  const given = (user) => entries.filter(({ user_id }) => user_id === user).map(({ event_id }) => event_id);
  for (let user = 1; user <= 20; user += 1) assert.deepEqual(sent(user), given(user));
});

test('rejections have the caller’s numbers, also of entries that can’t be sent', async (t) => {
  const fake = await Fake.start(
    t,
    accepting(({ event_id }) => (event_id.endsWith('3') ? { status: 'rejected', code: 'invalid_amount', field: 'amount' } : {})),
  );
  const entries = items(30);
  entries[5] = undefined;
  entries[6] = { ...item(6), amount: 1n };
  const progress = [];
  const summary = await fake.client().entries.postAll(entries, { itemsMax: 4, onProgress: (told) => progress.push(told) });
  assert.deepEqual([summary.read, summary.accepted, summary.rejected], [30, 25, 5]);
  assert.deepEqual(
    summary.rejections.map(({ index, code, field }) => [index, code, field]),
    [
      [3, 'invalid_amount', 'amount'],
      [5, 'invalid_json', undefined],
      [6, 'invalid_json', undefined],
      [13, 'invalid_amount', 'amount'],
      [23, 'invalid_amount', 'amount'],
    ],
  );
  assert.match(summary.rejections[2].detail, /amount is a bigint/);
  assert.equal(progress.length, 7);
  assert.deepEqual(progress.at(-1), { read: 30, accepted: 25, duplicates: 0, rejected: 5 });
});

test('an entry at which the ledger has failed alone is sent again alone', async (t) => {
  withoutJitter(t);
  const failed = new Map();
  const fake = await Fake.start(
    t,
    accepting(({ event_id }) => {
      const times = failed.get(event_id) ?? 0;
      const isFailing = event_id === 'e7' || (event_id === 'e3' && times < 2);
      failed.set(event_id, times + 1);
      return isFailing ? { status: 'rejected', code: 'ledger_unavailable' } : {};
    }),
  );
  const summary = await fake.client().entries.postAll(items(10));
  assert.deepEqual([summary.accepted, summary.rejections.map(({ index, code }) => [index, code])], [9, [[7, 'ledger_unavailable']]]);
  assert.deepEqual(sizes(fake), [10, 2, 2, 1]);
});

test('when it has to stop, it says what was answered and what was not', async (t) => {
  withoutJitter(t);
  const fake = await Fake.start(t, (request) =>
    request.json.entries.some(({ event_id }) => event_id === 'e20') ? broken : accepting()(request),
  );
  let taken = 0;
  let isClosed = false;
  async function* many() {
    try {
      for (let number = 0; number < 1_000; number += 1) {
        taken += 1;
        yield item(number);
      }
    } finally {
      isClosed = true;
    }
  }
  const error = await rejection(fake.client({ maxRetries: 2 }).entries.postAll(many(), { itemsMax: 10, concurrency: 1 }));
  assert.ok(error instanceof PostAllError);
  assert.deepEqual([error.code, error.outcome, error.cause.name], ['connection_failed', 'unknown', 'ConnectionError']);
  const { read, accepted, unanswered } = error.summary;
  assert.equal(accepted, 20);
  assert.deepEqual(
    unanswered,
    Array.from({ length: read - 20 }, (_, place) => place + 20),
  );
  assert.ok(isClosed);
  assert.ok(taken < 60, `${taken} were taken`);
});

test('an iterable that throws stops it, and what was sent is counted', async (t) => {
  const fake = await Fake.start(t, accepting());
  async function* rows() {
    yield* items(15);
    throw new Error('the cursor is gone');
  }
  const error = await rejection(fake.client().entries.postAll(rows(), { itemsMax: 10 }));
  assert.deepEqual(
    [error.name, error.code, error.outcome, error.cause.message],
    ['PostAllError', 'caller_failed', 'refused', 'the cursor is gone'],
  );
  assert.deepEqual([error.summary.read, error.summary.accepted, error.summary.unanswered], [15, 10, [10, 11, 12, 13, 14]]);
});

test('a wrong secret stops it at the first batch, and nothing is unknown', async (t) => {
  const fake = await Fake.start(t, problem(401, 'timestamp_out_of_range'));
  const error = await rejection(fake.client().entries.postAll(items(100), { itemsMax: 10, concurrency: 2 }));
  assert.deepEqual(
    [error.code, error.outcome, error.cause.reason, error.summary.accepted],
    ['timestamp_out_of_range', 'refused', 'clock', 0],
  );
  assert.ok(fake.requests.length <= 2);
});

test('it is aborted at once, also while it waits for the next entry', async (t) => {
  const fake = await Fake.start(t, accepting());
  const abort = new AbortController();
  async function* stuck() {
    yield* items(10);
    setImmediate(() => abort.abort(new Error('enough')));
    await new Promise(() => {});
  }
  const error = await rejection(fake.client().entries.postAll(stuck(), { itemsMax: 10, signal: abort.signal }));
  assert.deepEqual([error.name, error.code, error.cause.cause.message, error.summary.read], ['PostAllError', 'aborted', 'enough', 10]);
  const early = await rejection(fake.client().entries.postAll(items(5), { signal: AbortSignal.abort() }));
  assert.deepEqual([early.code, early.outcome, early.summary.read], ['aborted', 'refused', 0]);
});

test('an answer without a result for each entry is no success', async (t) => {
  const fake = await Fake.start(t, ok({ accepted: 1, results: [] }));
  const error = await rejection(fake.client().entries.postAll(items(2)));
  assert.deepEqual([error.code, error.outcome, error.summary.unanswered], ['unexpected_answer', 'unknown', [0, 1]]);
});

test('the real service: good, bad and known entries in one summary', withService, async (t) => {
  const service = await Service.start(t, { limits: 'batch_entries = 50\nbatch_body_bytes = 65536' });
  const ledger = service.client();
  const entries = items(500);
  entries[17].amount = 'much';
  entries[18] = null;
  entries[19] = 'e19';
  entries[20] = { ...item(20), kind: 'withdrawal' };
  entries[400] = entries[3];
  const summary = await ledger.entries.postAll(entries);
  assert.deepEqual([summary.read, summary.accepted, summary.duplicates, summary.rejected], [500, 495, 1, 4]);
  assert.deepEqual(
    summary.rejections.map(({ index, code }) => [index, code]),
    [
      [17, 'invalid_amount'],
      [18, 'invalid_json'],
      [19, 'invalid_json'],
      [20, 'insufficient_funds'],
    ],
  );
  assert.equal((await ledger.entries.postAll(entries)).duplicates, 496);
  service.assertLedgerHolds();
});

test('killed again and again in the middle, no entry is lost or doubled', withService, async (t) => {
  const service = await Service.start(t);
  const ledger = service.client({ maxRetries: 200, timeoutMs: 20_000 });
  const [users, rounds] = [50, 120];
  const entries = Array.from({ length: users * rounds }, (_, number) =>
    item(number, { user_id: 1 + (number % users), amount: `${1 + Math.floor(number / users)}` }),
  );
  let kills = 0;
  let nextKill = 600;
  let isKilling = null;
  const onProgress = ({ accepted, duplicates }) => {
    if (accepted + duplicates < nextKill || isKilling) return;
    nextKill += 900;
    kills += 1;
    isKilling = (async () => {
      await service.kill();
      await service.restart();
      isKilling = null;
    })();
  };
  service.losesAnswer = (number) => number % 5 === 0;
  const summary = await ledger.entries.postAll(entries, { itemsMax: 100, concurrency: 3, onProgress });
  service.losesAnswer = () => false;
  await isKilling;
  assert.ok(kills >= 4, `${kills} kills`);
  t.diagnostic(`${kills} kills, ${summary.duplicates} of ${entries.length} found by a later attempt`);
  assert.deepEqual(
    [summary.read, summary.accepted + summary.duplicates, summary.rejections, summary.unanswered],
    [entries.length, entries.length, [], []],
  );
  const expected = `${(rounds * (rounds + 1)) / 2}.000000000`;
  for (let user = 1; user <= users; user += 1) {
    const { version, balances } = await ledger.balances.get(user, { fresh: true });
    assert.deepEqual([version, balances.UNI], [rounds, expected], `user ${user}`);
  }
  const history = [];
  for await (const { amount } of ledger.entries.list(7, { limit: 50 })) history.unshift(Number(amount));
  assert.deepEqual(
    history,
    Array.from({ length: rounds }, (_, round) => round + 1),
    'in the caller’s order',
  );
  service.assertLedgerHolds();
});
