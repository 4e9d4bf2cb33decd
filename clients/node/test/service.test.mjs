// Every call against the real service.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'node:test';

import * as library from '@balance-coordinator/node';
import { reward } from './support/fake.mjs';
import { OTHER_SECRET, SECRET, Service, withService } from './support/service.mjs';

const {
  BalanceCoordinator,
  ExceedsOriginalError,
  IdempotencyConflictError,
  InsufficientFundsError,
  InvalidRequestError,
  NotFoundError,
  SignatureError,
} = library;

const rejection = (promise) =>
  promise.then(
    () => assert.fail('it has succeeded'),
    (error) => error,
  );
const deposit = (event_id, amount, more = {}) => ({ event_id, user_id: 184, currency: 'TON', amount, ...more });

test('each kind of entry changes the balance by its sign', withService, async (t) => {
  const service = await Service.start(t);
  const ledger = service.client();
  const hash = 'A1'.repeat(32);
  const first = await ledger.deposits.create({
    tx_hash: hash,
    user_id: 184,
    currency: 'TON',
    amount: '3',
    lt: '12',
    occurred_at: new Date(0),
  });
  assert.deepEqual([first.event_id, first.version, first.duplicate], [`ton:${hash.toLowerCase()}`, 1, false]);
  assert.equal((await ledger.rewards.create(reward('r1', { amount: '12.5', source: 'farming', metadata: { rate: '0.01' } }))).version, 2);
  assert.equal((await ledger.withdrawals.create(deposit('w1', '1'))).balances.TON, '2.000000000');
  assert.equal((await ledger.adjustments.create(deposit('a1', '-0.5', { reason: 'a mistake' }))).balances.TON, '1.500000000');
  const again = await ledger.rewards.create(reward('r1', { amount: '12.5' }));
  assert.deepEqual([again.version, again.duplicate], [2, true]);

  const balance = await ledger.balances.get(184, { fresh: true });
  assert.deepEqual([balance.version, balance.balances, balance.stale], [4, { TON: '1.500000000', UNI: '12.500000000' }, false]);
  assert.equal((await ledger.balances.get(184, { min_version: 4 })).version, 4);
  assert.deepEqual((await ledger.balances.get(7)).balances, { TON: '0.000000000', UNI: '0.000000000' });

  const page = await ledger.entries.list(184, { limit: 3 });
  assert.deepEqual(
    page.entries.map(({ version, kind, amount }) => [version, kind, amount]),
    [
      [4, 'adjustment', '-0.500000000'],
      [3, 'withdrawal', '-1.000000000'],
      [2, 'reward', '12.500000000'],
    ],
  );
  const all = [];
  for await (const entry of ledger.entries.list(184, { limit: 3 })) all.push(entry);
  assert.deepEqual(
    all.map(({ version }) => version),
    [4, 3, 2, 1],
  );
  assert.deepEqual(
    [all[3].tx_hash, all[3].occurred_at, all[2].metadata],
    [hash.toLowerCase(), '1970-01-01T00:00:00.000000Z', { rate: '0.01' }],
  );
  const older = [];
  for await (const entry of ledger.entries.list(184, { before_version: 3 })) older.push(entry.version);
  assert.deepEqual(older, [2, 1]);
  for await (const entry of ledger.entries.list(7)) assert.fail(entry);
  service.assertLedgerHolds();
});

test('a refusal is an error of its own kind', withService, async (t) => {
  const ledger = (await Service.start(t, { accounts: 'auto_create = false' })).client();
  const unknown = await rejection(ledger.rewards.create(reward('r1')));
  assert.ok(unknown instanceof NotFoundError);
  assert.deepEqual([unknown.code, unknown.outcome], ['unknown_user', 'refused']);
  await ledger.users.put(184);
  await ledger.deposits.create(deposit('d1', '3'));

  const poor = await rejection(ledger.withdrawals.create(deposit('w1', '3.000000001')));
  assert.ok(poor instanceof InsufficientFundsError);
  assert.deepEqual([poor.name, poor.available, poor.outcome, poor.status], ['InsufficientFundsError', '3.000000000', 'refused', 422]);
  const conflict = await rejection(ledger.deposits.create(deposit('d1', '4')));
  assert.ok(conflict instanceof IdempotencyConflictError);
  assert.deepEqual([conflict.code, conflict.outcome], ['idempotency_conflict', 'refused']);
  for (const [fields, code, field] of [
    [deposit('d2', 0.1), 'invalid_amount', 'amount'],
    [deposit('d2', '0.0000000001'), 'invalid_amount', 'amount'],
    [deposit('d2', '1', { currency: 'EUR' }), 'unknown_currency', 'currency'],
    [deposit('d2', '1', { eventId: 'x' }), 'unknown_field', 'eventId'],
    [deposit('d2', '1', { tx_hash: 'te6cck' }), 'invalid_tx_hash', 'tx_hash'],
    [deposit(undefined, '1'), 'invalid_field', 'event_id'],
    [deposit('d2', 5n), 'invalid_json', undefined],
    [undefined, 'invalid_json', undefined],
  ]) {
    const error = await rejection(ledger.deposits.create(fields));
    assert.ok(error instanceof InvalidRequestError, String(error));
    assert.deepEqual([error.code, error.field, error.outcome], [code, field, 'refused']);
  }
  assert.match((await rejection(ledger.deposits.create(deposit('d2', 5n)))).message, /amount is a bigint/);
  assert.equal((await ledger.balances.get(184)).version, 1);
});

test('all or nothing names the first bad entry and the result of each', withService, async (t) => {
  const ledger = (await Service.start(t)).client();
  const items = [
    { kind: 'deposit', ...deposit('d1', '1') },
    { kind: 'withdrawal', ...deposit('w1', '2') },
    { kind: 'reward', ...reward('r1') },
  ];
  const error = await rejection(ledger.entries.postAtomic(items));
  assert.ok(error instanceof InsufficientFundsError);
  assert.deepEqual([error.index, error.outcome], [1, 'refused']);
  assert.deepEqual(
    error.results.map(({ status }) => status),
    ['not_applied', 'rejected', 'not_applied'],
  );
  assert.equal((await ledger.balances.get(184)).version, 0);
  items[1].amount = '0.5';
  assert.deepEqual(
    (await ledger.entries.postAtomic(items)).results.map(({ status, version }) => [status, version]),
    [
      ['accepted', 1],
      ['accepted', 2],
      ['accepted', 3],
    ],
  );
  assert.equal((await ledger.entries.postAtomic(items)).duplicates, 3);
  assert.equal((await rejection(ledger.entries.postAtomic([]))).code, 'invalid_field');
});

test('an entry is taken back, in parts and never more than it has', withService, async (t) => {
  const service = await Service.start(t);
  const ledger = service.client();
  await ledger.deposits.create(deposit('d1', '10'));
  await ledger.withdrawals.create(deposit('w1', '4'));
  const back = (event_id, more = {}) => ledger.withdrawals.refund({ event_id, user_id: 184, reverses: 'w1', ...more });
  const part = await back('b1', { amount: '1.5', reason: 'a part' });
  assert.deepEqual([part.reverses, part.version, part.duplicate, part.balances.TON], ['w1', 3, false, '7.500000000']);
  const much = await rejection(back('b2', { amount: '2.6' }));
  assert.ok(much instanceof ExceedsOriginalError);
  assert.deepEqual([much.left, much.outcome, much.field], ['2.500000000', 'refused', 'amount']);
  assert.equal((await back('b2')).balances.TON, '10.000000000');
  assert.equal((await back('b2')).duplicate, true);
  assert.equal((await rejection(back('b3'))).left, '0.000000000');
  for (const [fields, code, Class] of [
    [{ reverses: 'w2' }, 'unknown_entry', NotFoundError],
    [{ reverses: 'b1' }, 'not_reversible', InvalidRequestError],
    [{ currency: 'UNI' }, 'invalid_field', InvalidRequestError],
    [{ reverses: undefined }, 'invalid_field', InvalidRequestError],
  ]) {
    const error = await rejection(back('b4', fields));
    assert.ok(error instanceof Class, String(error));
    assert.deepEqual([error.code, error.outcome], [code, 'refused']);
  }
  const { entries } = await ledger.entries.list(184, { limit: 2 });
  assert.deepEqual(
    entries.map(({ kind, reverses, reason, amount }) => [kind, reverses, reason, amount]),
    [
      ['reversal', 'w1', undefined, '2.500000000'],
      ['reversal', 'w1', 'a part', '1.500000000'],
    ],
  );
  const items = [
    { kind: 'reward', ...reward('r1') },
    { kind: 'reversal', event_id: 'v1', user_id: 184, reverses: 'r1' },
    { kind: 'reversal', event_id: 'v2', user_id: 184, reverses: 'r1' },
  ];
  const summary = await ledger.entries.postAll(items);
  assert.deepEqual([summary.accepted, summary.rejections.map(({ index, code }) => [index, code])], [2, [[2, 'exceeds_original']]]);
  service.assertLedgerHolds();
});

test('users are created and linked', withService, async (t) => {
  const ledger = (await Service.start(t)).client();
  assert.deepEqual(await ledger.users.put(184), { user_id: 184 });
  assert.deepEqual(await ledger.users.put(184, { telegram_id: 5 }), { user_id: 184, telegram_id: 5 });
  assert.deepEqual(await ledger.users.put(184, { telegram_id: 5 }), { user_id: 184, telegram_id: 5 });
  const error = await rejection(ledger.users.put(185, { telegram_id: 5 }));
  assert.deepEqual([error.name, error.code, error.status], ['BalanceCoordinatorError', 'already_linked', 409]);
  for (const userId of ['184', 0, 1.5, 184n, undefined]) await assert.rejects(ledger.users.put(userId), TypeError);
  assert.throws(() => ledger.entries.list('184'), TypeError);
});

test('a refused signature says what is wrong: the secret, the clock, the bytes or the headers', withService, async (t) => {
  const service = await Service.start(t);
  const wrong = service.client({ secret: OTHER_SECRET });
  for (const call of [() => wrong.rewards.create(reward('e')), () => wrong.balances.get(184)]) {
    const error = await rejection(call());
    assert.ok(error instanceof SignatureError);
    assert.deepEqual([error.code, error.reason, error.outcome], ['invalid_signature', 'secret', 'refused']);
  }

  const now = Date.now();
  const clock = t.mock.method(Date, 'now', () => now + 400_000);
  const ahead = await rejection(service.client().rewards.create(reward('e')));
  clock.mock.restore();
  assert.deepEqual([ahead.code, ahead.reason], ['timestamp_out_of_range', 'clock']);
  assert.ok(Math.abs(ahead.clockOffsetMs + 400_000) < 60_000, `${ahead.clockOffsetMs}`);
  assert.match(ahead.message, /this machine's clock is \d+ s ahead of the service's/);

  const meddling = (change) =>
    service.client({ fetch: (url, options) => fetch(url, change(structuredClone({ ...options, signal: undefined }))) });
  const changed = meddling((options) => (options.body ? { ...options, body: Buffer.concat([options.body, Buffer.from('\n')]) } : options));
  const bytes = await rejection(changed.rewards.create(reward('e')));
  assert.deepEqual([bytes.code, bytes.reason], ['invalid_signature', 'bytes']);
  const stripped = meddling(({ headers: { 'webhook-signature': _, ...headers }, ...options }) => ({ ...options, headers }));
  assert.deepEqual((await rejection(stripped.rewards.create(reward('e')))).reason, 'headers');
  assert.equal((await service.client().balances.get(184)).version, 0);
});

test('what is refused without an answer to the second question leaves the reason open', async (t) => {
  const server = createServer((req, res) => {
    if (req.method === 'GET') return void res.writeHead(502).end();
    req.resume();
    return void res.writeHead(401, { 'content-type': 'application/problem+json' }).end('{"code":"invalid_signature"}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const client = new BalanceCoordinator({ url: `http://127.0.0.1:${server.address().port}`, secret: SECRET });
  assert.equal((await rejection(client.rewards.create(reward('e')))).reason, 'unknown');
});

test('the public listener is no back end’s', withService, async (t) => {
  const { publicUrl } = await Service.start(t);
  const error = await rejection(new BalanceCoordinator({ url: publicUrl, secret: SECRET }).rewards.create(reward('e')));
  assert.deepEqual([error.code, error.status, error.outcome], ['not_found', 404, 'refused']);
});

test('a lost answer: the entry is found by the next attempt, and counts once', withService, async (t) => {
  const service = await Service.start(t);
  const retries = [];
  const ledger = service.client({ onRetry: ({ error }) => retries.push(error.outcome) });
  service.loseOneAnswer();
  const answer = await ledger.rewards.create(reward('e'));
  assert.deepEqual([answer.version, answer.duplicate, retries], [1, true, ['unknown']]);
  service.loseOneAnswer();
  const lost = await rejection(service.client({ maxRetries: 0 }).rewards.create(reward('f')));
  assert.deepEqual([lost.name, lost.outcome], ['ConnectionError', 'unknown']);
  assert.equal((await ledger.balances.get(184)).version, 2);
});

test('a service that is started again in the meantime is waited for', withService, async (t) => {
  const service = await Service.start(t);
  const restarted = [];
  const ledger = service.client({ maxRetries: 50, onRetry: () => restarted.length || restarted.push(service.restart()) });
  await service.kill();
  assert.equal((await ledger.rewards.create(reward('e'))).version, 1);
  assert.equal(restarted.length, 1);
  await Promise.all(restarted);
});
