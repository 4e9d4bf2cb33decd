// Attempts, waits, and what an error says of them.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import test from 'node:test';

import * as library from '@balance-coordinator/node';
import { broken, Fake, ok, problem, reward, silent, withoutJitter } from './support/fake.mjs';
import { SECRET } from './support/service.mjs';

const { AbortError, BalanceCoordinator, BalanceCoordinatorError, ConnectionError, TimeoutError, UnavailableError } = library;

const answer = ok({ event_id: 'e', user_id: 184, version: 1, duplicate: false, balances: { UNI: '1.000000000' }, committed_at: '' });
const rejection = (promise) =>
  promise.then(
    () => assert.fail('it has succeeded'),
    (error) => error,
  );

test('what may be sent again is: the same bytes, signed anew, with the same event id', async (t) => {
  withoutJitter(t);
  const start = Date.now();
  let now = start;
  t.mock.method(Date, 'now', () => now);
  const again = [
    problem(503, 'overloaded', {}, { 'retry-after': '0' }),
    problem(503, 'shutting_down'),
    problem(429, 'rate_limited', {}, { 'retry-after': '0' }),
    problem(408, 'request_timeout'),
    { status: 502, body: '<html>bad gateway</html>' },
    { status: 504, body: '' },
    broken,
  ];
  const fake = await Fake.start(t, ...again, answer);
  const told = [];
  const onRetry = (retry) => {
    told.push(retry);
    now += 400_000; // more than the tolerance
  };
  const client = fake.client({ maxRetries: again.length, onRetry });
  assert.deepEqual(await client.rewards.create(reward('e')), answer.body);
  assert.equal(fake.requests.length, again.length + 1);
  for (const [number, request] of fake.requests.entries()) {
    assert.ok(request.isSigned);
    assert.equal(request.timestamp, Math.floor((start + number * 400_000) / 1000));
    assert.equal(request.text, fake.requests[0].text);
  }
  assert.deepEqual(
    told.map(({ attempt }) => attempt),
    [1, 2, 3, 4, 5, 6, 7],
  );
  assert.deepEqual(
    told.map(({ error }) => error.outcome),
    ['unknown', 'unknown', 'refused', 'refused', 'unknown', 'unknown', 'unknown'],
  );
  assert.deepEqual([told[0].method, told[0].path, told[0].waitMs], ['POST', '/internal/v1/rewards', 0]);
  assert.ok(told.every(({ error }) => error.isTransient));
  assert.deepEqual(
    told.map(({ error }) => error.constructor),
    [...Array(6).fill(UnavailableError), ConnectionError],
  );
});

test('a time-out is sent again', async (t) => {
  withoutJitter(t);
  const fake = await Fake.start(t, silent, answer);
  assert.equal((await fake.client({ timeoutMs: 200 }).rewards.create(reward('e'))).version, 1);
  assert.equal(fake.requests.length, 2);
});

test('a refusal is final', async (t) => {
  const refusals = [
    [400, 'invalid_json'],
    [401, 'timestamp_out_of_range'],
    [404, 'unknown_user'],
    [409, 'idempotency_conflict'],
    [413, 'body_too_large'],
    [422, 'invalid_amount'],
    [429, 'rate_limited'],
  ];
  for (const [status, code] of refusals) {
    const fake = await Fake.start(t, problem(status, code));
    const error = await rejection(fake.client().rewards.create(reward('e')));
    assert.deepEqual(
      [error.code, error.status, error.outcome, error.isTransient, error.attempts, fake.requests.length],
      [code, status, 'refused', false, 1, 1],
    );
    assert.ok(error instanceof BalanceCoordinatorError);
  }
});

test('waits double, with full jitter on top of Retry-After', async (t) => {
  let random = 1;
  t.mock.method(Math, 'random', () => random);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const waits = [];
  const fetch = async () => new Response('{"code":"overloaded"}', { status: 503, headers: { 'retry-after': '2' } });
  const onRetry = ({ waitMs }) => {
    waits.push(waitMs);
    random = waits.length > 7 ? 0.5 : 1;
    setImmediate(() => t.mock.timers.tick(waitMs));
  };
  const client = new BalanceCoordinator({ url: 'http://b.example', secret: SECRET, maxRetries: 9, fetch, onRetry });
  const error = await rejection(client.rewards.create(reward('e')));
  assert.deepEqual(
    waits.map((waitMs) => waitMs - 2_000),
    [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 5_000],
  );
  assert.deepEqual([error.attempts, error.retryAfterMs, error.outcome, error.isTransient], [10, 2_000, 'unknown', true]);
});

test('Retry-After may be a date, and a very long one is not waited for', async (t) => {
  withoutJitter(t);
  const dated = await Fake.start(t, problem(503, 'overloaded', {}, { 'retry-after': new Date(Date.now() - 5_000).toUTCString() }), answer);
  assert.equal((await dated.client().rewards.create(reward('e'))).version, 1);
  const long = await Fake.start(t, problem(429, 'rate_limited', {}, { 'retry-after': '3600' }));
  const error = await rejection(long.client().rewards.create(reward('e')));
  assert.deepEqual([error.retryAfterMs, error.outcome, error.isTransient, long.requests.length], [3_600_000, 'refused', true, 1]);
});

test('the outcome is unknown as long as an attempt may have been stored', async (t) => {
  withoutJitter(t);
  for (const [answers, outcome] of [
    // Refused at the door: nothing is known of the attempt before.
    [[broken, problem(401, 'invalid_signature', { field: 'webhook-id' })], 'unknown'],
    [[broken, problem(429, 'rate_limited')], 'unknown'],
    [[problem(503, 'ledger_unavailable'), { status: 403, body: 'a proxy' }], 'unknown'],
    [[broken, problem(404, 'not_found')], 'unknown'],
    // Decided on what is stored.
    [[broken, problem(422, 'insufficient_funds', { available: '0.5' })], 'refused'],
    [[problem(503, 'overloaded'), problem(409, 'idempotency_conflict')], 'refused'],
    // Nothing was accepted by any.
    [[problem(408, 'request_timeout'), problem(408, 'request_timeout')], 'refused'],
    [[broken, broken], 'unknown'],
  ]) {
    const fake = await Fake.start(t, ...answers);
    const error = await rejection(fake.client({ maxRetries: 1 }).withdrawals.create(reward('e')));
    assert.deepEqual([error.outcome, fake.requests.length], [outcome, answers.length], error.message);
  }
});

test('without a connection nothing was stored', async (t) => {
  withoutJitter(t);
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  await new Promise((resolve) => server.close(resolve));
  const error = await rejection(new BalanceCoordinator({ url, secret: SECRET, maxRetries: 2 }).rewards.create(reward('e')));
  assert.ok(error instanceof ConnectionError);
  assert.deepEqual([error.code, error.outcome, error.attempts, error.isTransient], ['connection_failed', 'refused', 3, true]);
  assert.match(error.message, /ECONNREFUSED/);
});

test('an aborted call says whether something may have been stored', async (t) => {
  withoutJitter(t);
  const isOver = AbortSignal.abort(new Error('the request is over'));
  const fake = await Fake.start(t, silent);
  const early = await rejection(fake.client().rewards.create(reward('e'), { signal: isOver }));
  assert.ok(early instanceof AbortError);
  assert.deepEqual(
    [early.name, early.code, early.outcome, early.cause.message, fake.requests.length],
    ['AbortError', 'aborted', 'refused', 'the request is over', 0],
  );

  const abort = new AbortController();
  const waiting = await Fake.start(t, () => {
    abort.abort();
    return silent;
  });
  const sent = await rejection(waiting.client().rewards.create(reward('e'), { signal: abort.signal }));
  assert.deepEqual([sent.name, sent.outcome, waiting.requests.length], ['AbortError', 'unknown', 1]);

  for (const [first, outcome] of [
    [problem(503, 'overloaded', {}, { 'retry-after': '30' }), 'unknown'],
    [problem(429, 'rate_limited', {}, { 'retry-after': '30' }), 'refused'],
  ]) {
    const between = new AbortController();
    const busy = await Fake.start(t, first);
    const client = busy.client({ onRetry: () => setImmediate(() => between.abort()) });
    const error = await rejection(client.rewards.create(reward('e'), { signal: between.signal }));
    assert.deepEqual([error.name, error.outcome, busy.requests.length], ['AbortError', outcome, 1]);
  }
});

test('one signal may end many calls', async (t) => {
  const warnings = [];
  const onWarning = (warning) => warnings.push(warning.name);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  const abort = new AbortController();
  const fake = await Fake.start(t, silent);
  const calls = Array.from({ length: 30 }, (_, number) =>
    rejection(fake.client().rewards.create(reward(`e${number}`), { signal: abort.signal })),
  );
  setImmediate(() => abort.abort());
  for (const error of await Promise.all(calls)) assert.equal(error.name, 'AbortError');
  await new Promise((resolve) => setImmediate(resolve)); // a warning is told in the next turn
  assert.deepEqual(warnings, []);
});

test('no listener is left on a signal', async (t) => {
  withoutJitter(t);
  const fake = await Fake.start(t, broken, answer);
  const { signal } = new AbortController();
  let listeners = 0;
  t.mock.method(signal, 'addEventListener', () => (listeners += 1));
  t.mock.method(signal, 'removeEventListener', () => (listeners -= 1));
  await fake.client().rewards.create(reward('e'), { signal });
  assert.equal(listeners, 0);
});

test('an answer that is not the service’s is no success', async (t) => {
  for (const [wrong, outcome] of [
    [{ status: 200, body: '<html>welcome</html>' }, 'unknown'],
    [{ status: 200, body: '' }, 'unknown'],
    [{ status: 302, body: '', headers: { location: 'http://127.0.0.1:1/' } }, 'unknown'],
    [{ status: 404, body: '<html>not here</html>' }, 'refused'],
  ]) {
    const fake = await Fake.start(t, wrong);
    const error = await rejection(fake.client().rewards.create(reward('e')));
    assert.deepEqual(
      [error.name, error.code, error.status, error.outcome, fake.requests.length],
      ['UnexpectedAnswerError', 'unexpected_answer', wrong.status, outcome, 1],
    );
  }
});

test('a problem document changes nothing of an error but what the protocol names', async (t) => {
  const fake = await Fake.start(
    t,
    problem(422, 'insufficient_funds', { available: '1', message: 'm', stack: 's', outcome: 'unknown', isTransient: true, cause: 'c' }),
  );
  const error = await rejection(fake.client().withdrawals.create(reward('e')));
  assert.match(error.message, /^insufficient_funds: as the test says$/);
  assert.match(error.stack, /InsufficientFundsError|Error/);
  assert.deepEqual(
    { ...error },
    {
      name: 'InsufficientFundsError',
      outcome: 'refused',
      isTransient: false,
      code: 'insufficient_funds',
      status: 422,
      available: '1',
      attempts: 1,
    },
  );
});

test('options of one call count before those of the client', async (t) => {
  withoutJitter(t);
  const fake = await Fake.start(t, broken);
  const error = await rejection(fake.client({ maxRetries: 7 }).rewards.create(reward('e'), { maxRetries: 1 }));
  assert.deepEqual([error.attempts, fake.requests.length], [2, 2]);
  const mute = await Fake.start(t, silent);
  const slow = await rejection(mute.client({ maxRetries: 0 }).rewards.create(reward('e'), { timeoutMs: 50 }));
  assert.ok(slow instanceof TimeoutError);
  assert.deepEqual([slow.outcome, slow.isTransient], ['unknown', true]);
});

test('options that can’t work are refused at once, without telling the secret', () => {
  const good = { url: 'http://127.0.0.1:8081', secret: SECRET };
  for (const [options, says] of [
    [undefined, /url/],
    [{ ...good, url: 'localhost:8081' }, /neither http: nor https:/],
    [{ ...good, url: '127.0.0.1' }, /url is no URL/],
    [{ ...good, url: 'http://user:pass@h/' }, /url may have/],
    [{ ...good, secret: undefined }, /secret is missing/],
    [{ ...good, secret: SECRET.slice(6) }, /does not begin with whsec_/],
    [{ ...good, secret: `${SECRET}\n` }, /not base64/],
    [{ ...good, secret: 'whsec_c2hvcnQ=' }, /fewer than 16 bytes/],
    [{ ...good, timeoutMs: 0 }, /timeoutMs/],
    [{ ...good, maxRetries: -1 }, /maxRetries/],
    [{ ...good, timeout: 5 }, /no option timeout/],
    [{ ...good, fetch: 'fetch' }, /fetch/],
  ]) {
    assert.throws(
      () => new BalanceCoordinator(options),
      (error) => error instanceof TypeError && says.test(error.message) && !error.message.includes(SECRET.slice(6, 20)),
    );
  }
});
