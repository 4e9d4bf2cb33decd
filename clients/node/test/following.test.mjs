// Look-ups, all balances and the feed of the real service.

import assert from 'node:assert/strict';
import test from 'node:test';

import { reward } from './support/fake.mjs';
import { Service, withService } from './support/service.mjs';

const rejection = (promise) =>
  promise.then(
    () => assert.fail('it has succeeded'),
    (error) => error,
  );
const rewards = (count, users) =>
  Array.from({ length: count }, (_, number) => ({ kind: 'reward', ...reward(`e${number}`, { user_id: 1 + (number % users) }) }));

test('an entry is found by its event id and by each spelling of its hash, or is not there', withService, async (t) => {
  const ledger = (await Service.start(t)).client();
  const hash = Buffer.alloc(32, 0xfb);
  await ledger.deposits.create({ tx_hash: hash.toString('hex'), user_id: 184, currency: 'TON', amount: '3' });
  await ledger.withdrawals.create({ event_id: 'w 1+2&3', user_id: 184, currency: 'TON', amount: '1' });
  await ledger.withdrawals.refund({ event_id: 'b', user_id: 184, reverses: 'w 1+2&3', amount: '0.4' });
  for (const spelling of ['hex', 'base64', 'base64url']) {
    assert.equal((await ledger.entries.find({ tx_hash: hash.toString(spelling) })).version, 1, spelling);
  }
  assert.equal((await ledger.entries.find({ event_id: `ton:${hash.toString('hex')}` })).left, '3.000000000');
  const withdrawal = await ledger.entries.find({ event_id: 'w 1+2&3' });
  assert.deepEqual([withdrawal.version, withdrawal.amount, withdrawal.left], [2, '-1.000000000', '0.600000000']);
  const reversal = await ledger.entries.find({ event_id: 'b' });
  assert.deepEqual([reversal.reverses, reversal.left], ['w 1+2&3', undefined]);
  assert.equal(await ledger.entries.find({ event_id: 'none' }), null);
  assert.equal(await ledger.entries.find({ tx_hash: 'ab'.repeat(32) }), null);
  for (const key of [{}, undefined, { event_id: 'b', tx_hash: 'ab'.repeat(32) }]) {
    assert.equal((await rejection(ledger.entries.find(key))).code, 'invalid_field');
  }
});

test('all balances come page by page', withService, async (t) => {
  const ledger = (await Service.start(t)).client();
  await ledger.entries.postAll(rewards(25, 25));
  await ledger.users.put(100);
  const first = await ledger.balances.list({ limit: 10 });
  assert.deepEqual(
    [first.balances.length, first.next, first.balances[0]],
    [10, 10, { user_id: 1, version: 1, balances: { TON: '0.000000000', UNI: '1.000000000' } }],
  );
  const users = [];
  for await (const { user_id } of ledger.balances.list({ limit: 10, after: 3 })) users.push(user_id);
  assert.deepEqual(users, [...Array.from({ length: 22 }, (_, place) => place + 4), 100]);
  assert.equal((await rejection(ledger.balances.list({ limit: 0 }))).field, 'limit');
});

test('the feed gives every entry once and in each user’s order, over kills of the service', withService, async (t) => {
  const service = await Service.start(t);
  const ledger = service.client({ maxRetries: 200, timeoutMs: 20_000 });
  const entries = rewards(3_000, 20);
  const abort = new AbortController();
  // What a follower keeps: the cursor, together with what it made of the entries.
  const kept = { cursor: undefined, events: [], versions: new Map() };
  const follow = async (stopAfter) => {
    for await (const { entries: page, next } of ledger.feed({ after: kept.cursor, limit: 40, signal: abort.signal })) {
      for (const { user_id, version, event_id } of page) {
        assert.equal(version, (kept.versions.get(user_id) ?? 0) + 1, `user ${user_id}`);
        kept.versions.set(user_id, version);
        kept.events.push(event_id);
      }
      kept.cursor = next;
      if (kept.events.length >= stopAfter) return;
    }
  };
  let kills = 0;
  const killing = async () => {
    for (let part = 1; part <= 4; part += 1) {
      await follow(part * 600); // a follower that ends and starts again from what it has kept
      await service.kill();
      kills += 1;
      await service.restart();
    }
    await follow(entries.length);
  };
  const [summary] = await Promise.all([ledger.entries.postAll(entries, { itemsMax: 100 }), killing()]);
  assert.deepEqual([summary.accepted + summary.duplicates, kills], [3_000, 4]);
  assert.deepEqual(kept.events.slice().sort(), entries.map(({ event_id }) => event_id).sort());
  setImmediate(() => abort.abort());
  assert.equal((await rejection(follow(Infinity))).name, 'AbortError');
});

test('the feed begins with what comes from now on, and ends when that is asked for', withService, async (t) => {
  const ledger = (await Service.start(t)).client();
  await ledger.rewards.create(reward('e1'));
  const feed = ledger.feed({ after: 'latest' });
  const now = (await feed.next()).value;
  assert.deepEqual(now.entries, []);
  const waiting = feed.next();
  await ledger.rewards.create(reward('e2'));
  const { value } = await waiting;
  assert.deepEqual(
    value.entries.map(({ event_id, version }) => [event_id, version]),
    [['e2', 2]],
  );
  await feed.return();
  const all = [];
  for await (const { entries } of ledger.feed({ follow: false, limit: 1 })) all.push(...entries);
  assert.deepEqual(
    all.map(({ event_id }) => event_id),
    ['e1', 'e2'],
  );
  const since = [];
  for await (const { entries } of ledger.feed({ after: now.next, follow: false })) since.push(...entries);
  assert.deepEqual(since, [all[1]]);
  assert.deepEqual([(await rejection(ledger.feed({ after: 'no cursor' }).next())).field], ['after']);
});
