import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { promisify } from 'node:util';

import { payPeriod } from '../examples/scheduler.mjs';
import { signUp, userService } from '../examples/users.mjs';
import { credit, giveBack, take } from '../examples/wallet.mjs';
import { SECRET, Service, withService } from './support/service.mjs';

test('the scheduler pays a period once, and goes on past a farmer that can’t be paid', withService, async (t) => {
  const service = await Service.start(t);
  const ledger = service.client();
  const told = t.mock.method(console, 'error', () => {});
  const farmers = async function* () {
    for (let user_id = 1; user_id <= 2_500; user_id += 1) yield { user_id, uni_per_period: user_id === 7 ? 0 : user_id * 0.1 };
  };
  for (const [accepted, duplicates] of [
    [2_499, 0],
    [0, 2_499],
  ]) {
    const summary = await payPeriod(ledger, farmers(), '2025-08-04T10:05Z');
    assert.deepEqual(
      [summary.accepted, summary.duplicates, summary.rejections.map(({ event_id }) => event_id)],
      [accepted, duplicates, ['farm:7:2025-08-04T10:05Z']],
    );
  }
  assert.match(told.mock.calls[0].arguments[0], /not paid: farm:7:2025-08-04T10:05Z: invalid_amount amount/);
  assert.equal((await ledger.balances.get(3)).balances.UNI, '0.300000000', '3 * 0.1 is 0.30000000000000004');
  assert.equal((await payPeriod(ledger, farmers(), '2025-08-04T10:10Z')).accepted, 2_499);
  service.assertLedgerHolds();
});

test('the wallet credits a transaction once, takes what there is, and gives back what the chain refuses', withService, async (t) => {
  const ledger = (await Service.start(t)).client();
  const hash = Buffer.alloc(32, 0xab);
  const first = await credit(ledger, { hash: hash.toString('hex'), user_id: 184, ton: '2' });
  const second = await credit(ledger, { hash: hash.toString('base64url'), user_id: 184, ton: '2' });
  assert.deepEqual([first.duplicate, second.duplicate, second.version], [false, true, 1]);
  assert.deepEqual(await take(ledger, { id: 1, user_id: 184, ton: '2.5' }), { state: 'refused', available: '2.000000000' });
  assert.deepEqual(await take(ledger, { id: 2, user_id: 184, ton: '1.5' }), { state: 'taken' });
  assert.deepEqual(await take(ledger, { id: 2, user_id: 184, ton: '1.5' }), { state: 'taken' });
  await assert.rejects(take(ledger, { id: 3, user_id: 184, ton: 'all' }), { code: 'invalid_amount' });
  for (const duplicate of [false, true]) {
    assert.equal((await giveBack(ledger, { id: 2, user_id: 184 }, 'no such wallet')).duplicate, duplicate);
    assert.equal((await ledger.balances.get(184)).balances.TON, '2.000000000');
  }
});

test('the wallet does not call unknown what is refused, nor refused what is unknown', withService, async (t) => {
  const service = await Service.start(t);
  await credit(service.client(), { hash: 'ab'.repeat(32), user_id: 184, ton: '2' });
  service.loseOneAnswer();
  assert.deepEqual(await take(service.client({ maxRetries: 0 }), { id: 1, user_id: 184, ton: '2' }), { state: 'unknown' });
  assert.deepEqual(await take(service.client(), { id: 1, user_id: 184, ton: '2' }), { state: 'taken' });
});

test('the user service hands out tokens and balances to the signed-in user alone', withService, async (t) => {
  const service = await Service.start(t);
  const ledger = service.client();
  const server = userService(ledger, async (req) => (req.headers.cookie ? Number(req.headers.cookie) : null)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const ask = (path, method, cookie) =>
    fetch(`http://127.0.0.1:${server.address().port}${path}`, { method, headers: cookie ? { cookie } : {} });

  await signUp(ledger, 184, 12345);
  await ledger.rewards.create({ event_id: 'r1', user_id: 184, currency: 'UNI', amount: '1' });
  assert.deepEqual(await (await ask('/my/balance', 'GET', '184')).json(), {
    balances: { TON: '0.000000000', UNI: '1.000000000' },
    version: 1,
    stale: false,
  });
  const { token } = await (await ask('/my/balance-token', 'POST', '184')).json();
  const page = await fetch(`${service.publicUrl}/api/v1/balance`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await page.json()).user_id, 184);
  assert.deepEqual(
    [(await ask('/my/balance', 'GET')).status, (await ask('/my/balance-token', 'POST')).status, (await ask('/', 'GET')).status],
    [401, 401, 404],
  );
});

test('the start of the README runs as it stands there', withService, async (t) => {
  const service = await Service.start(t);
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, start] = /```js\n([^]*?)```/.exec(readme);
  const env = { ...process.env, BALANCE_URL: service.url, BALANCE_SECRET: SECRET };
  const options = { cwd: new URL('..', import.meta.url), env };
  const run = async () => (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', start], options)).stdout;
  assert.equal(await run(), '0.100000000 1 false\nthere is only 0.100000000\n');
  assert.equal(await run(), '0.100000000 1 true\nthere is only 0.100000000\n');
});
