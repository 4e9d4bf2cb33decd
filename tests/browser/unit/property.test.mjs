// Frames are shuffled, repeated and lost, connections cut, tabs frozen, the ledger restored, and pages call what they like
// between them: refresh, read, waitFor, stop, start, another user. Whatever happens: what is shown is the ledger's balance of
// the user who is signed in; the version never falls within an epoch; an epoch that is over does not return; a push's changes
// are the difference between what was shown and what is shown; and the end is right.
// A third of the cases is the same in every run, the others are new. BALANCE_TEST_SEED=n runs one case alone.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { MemoryStorage } from './support/browser.mjs';
import { add, compare } from '../../../src/web/client/balance-client.js';
import { OTHER_USER, randomFrom, TON, USER, World } from './support/world.mjs';

const CASES = Number(process.env.BALANCE_TEST_CASES ?? 60);
const STEPS = 60;
const FIXED_SEED = 20_250_804;

class Case {
  epochs = ['e1'];
  history = new Map(); // `${userId} ${epoch} ${version}` → balance
  pages = []; // { client, tab, shown, and whom getToken signs in: `user` next, `given` last, `known` to the client }

  constructor(t, seed) {
    this.random = randomFrom(seed);
    this.world = new World(t, { random: randomFrom(seed + 1) });
    this.world.server.delays = () => this.delays();
    // What the service says that a push changed may count from a state that this page has not shown.
    this.world.server.changesOf = (change) => change + (this.random() < 0.5 ? 0 : this.below(4) * TON);
    this.isRough = true;
    this.isShared = this.random() < 0.7;
    this.storage = new MemoryStorage();
    for (const user of [USER, OTHER_USER]) this.record(user);
    for (let n = this.below(3); n >= 0; n -= 1) this.open();
  }

  below(limit) {
    return Math.floor(this.random() * limit);
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  delays() {
    if (!this.isRough) return [5];
    const copies = this.random() < 0.1 ? 0 : this.random() < 0.15 ? 2 : 1;
    return Array.from({ length: copies }, () => (this.random() < 0.3 ? this.below(3_000) : 5));
  }

  record(user) {
    const { epoch, version, balances } = this.world.server.state(user);
    this.history.set(`${user} ${epoch} ${version}`, balances.TON);
  }

  open() {
    const { world } = this;
    const tab = world.browser.tab({ hasLocks: this.isShared });
    const ttlMs = 20_000 + this.below(600_000);
    const page = { tab, user: this.random() < 0.8 ? USER : OTHER_USER, given: null, known: null, shown: null };
    const getToken = async () => {
      await null; // a tab that thaws runs all that has waited at once
      const { user } = page;
      page.given = user;
      setImmediate(() => (page.known = user)); // the client has taken it
      return world.token(user, ttlMs);
    };
    const client = world.client({ tab, storage: this.random() < 0.5 ? this.storage : undefined, getToken });
    page.client = client;
    client.subscribe((state) => this.check(page, state));
    client.start();
    this.pages.push(page);
  }

  check(page, { userId, epoch, version, balances, status, lastUpdate }) {
    if (version === null) {
      assert.deepEqual([balances, lastUpdate], [null, null]);
      page.shown = null;
      return;
    }
    assert.ok([page.given, page.known].includes(userId), `shows ${userId}, and ${page.given} is signed in`);
    assert.equal(balances.TON, this.history.get(`${userId} ${epoch} ${version}`), `the balance of ${userId} ${epoch} ${version}`);
    const { shown } = page;
    if (lastUpdate && lastUpdate !== shown?.lastUpdate) {
      assert.ok(shown, 'a first value is no change');
      assert.equal(compare(add(shown.balances.TON, lastUpdate.changes.TON ?? '0'), balances.TON), 0, 'changes are the difference');
      assert.deepEqual([lastUpdate.version, lastUpdate.entries], [version, version - shown.version]);
    }
    if (shown) {
      const [before, now] = [this.epochs.indexOf(shown.epoch), this.epochs.indexOf(epoch)];
      assert.ok(now >= before, `${shown.epoch} → ${epoch} (${status})`);
      assert.ok(now > before || version >= shown.version, `${shown.version} → ${version} of ${epoch} (${status})`);
    }
    page.shown = { epoch, version, balances, lastUpdate };
  }

  commit(push = this.random() < 0.8, user = this.random() < 0.8 ? USER : OTHER_USER) {
    const { server } = this.world;
    const { nano } = server.account(user);
    // Recorded first: a listener checks at once.
    const change = nano > 0n && this.random() < 0.3 ? -1 : this.below(5) * TON + 1;
    const { epoch, version } = server.state(user);
    const after = nano + BigInt(change);
    this.history.set(`${user} ${epoch} ${version + 1}`, `${after / 1_000_000_000n}.${String(after % 1_000_000_000n).padStart(9, '0')}`);
    server.commit(user, change, { push });
  }

  restore() {
    const { server } = this.world;
    const epoch = `e${this.epochs.length + 1}`;
    this.epochs.push(epoch);
    for (const user of [USER, OTHER_USER]) {
      const { version } = server.account(user);
      server.restore(epoch, user, this.below(version + 1), this.below(9) * TON);
      this.record(user);
    }
  }

  step() {
    const { server } = this.world;
    const page = this.pick(this.pages);
    const { client, tab } = page;
    const actions = [
      [30, () => this.commit()],
      [8, () => server.closeAll(this.pick([1001, 1006, 1013, 4408, 4429, 4501]), '')],
      [3, () => (server.isDown = !server.isDown)],
      [3, () => (server.isWsBlocked = !server.isWsBlocked)],
      [2, () => (server.isMute = !server.isMute)],
      [3, () => (server.isLedgerAway = this.pick([false, true, 'unknown']))],
      [4, () => (server.httpLatencyMs = this.below(8_000))],
      [10, () => void client.refresh()],
      [4, () => this.hammer(page)],
      [5, () => void client.read()],
      [6, () => this.waitFor(page)],
      [3, () => this.switchUser(page)],
      [2, () => this.restore()],
      [4, () => (this.random() < 0.5 ? tab.hide() : tab.show())],
      [4, () => (tab.isFrozen ? tab.thaw() : tab.freeze())],
      [4, () => tab.fire(this.pick(['pagehide', 'pageshow', 'online', 'offline']))],
      [3, () => this.world.clock.nowMs && (this.world.clock.wallOffsetMs += this.below(200_000) - 100_000)],
      [2, () => this.pages.length < 4 && this.open()],
      [2, () => (client.stop({ forget: this.random() < 0.5 }), client.start())],
      [1, () => this.pages.length > 1 && this.crash(page)],
    ];
    let chance = this.below(actions.reduce((sum, [weight]) => sum + weight, 0));
    actions.find(([weight]) => (chance -= weight) < 0)[1]();
  }

  /** A page in a loop, or one whose user is impatient. */
  hammer({ client }) {
    for (let n = this.below(60); n >= 0; n -= 1) {
      const timeoutMs = this.random() < 0.3 ? this.below(2_000) : undefined;
      client.refresh({ timeoutMs, signal: this.random() < 0.1 ? AbortSignal.abort(new Error('not wanted')) : undefined }).catch(() => {});
    }
  }

  waitFor({ client, user }) {
    const version = this.world.server.account(user).version + this.below(2);
    client.waitFor(version, { timeoutMs: this.below(20_000) }).catch(() => {});
  }

  /** The app's back end signs another user in. With or without `stop`, and whether or not the token has ended. */
  switchUser(page) {
    const { client } = page;
    page.user = page.user === USER ? OTHER_USER : USER;
    const how = this.below(3);
    if (how === 0) client.stop({ forget: this.random() < 0.5 });
    if (how === 1) this.world.server.closeAll(4501, 'token_expired');
    client.start();
  }

  crash(page) {
    page.tab.crash();
    this.pages = this.pages.filter((one) => one !== page);
  }

  async run() {
    for (let step = 0; step < STEPS; step += 1) {
      this.step();
      await this.world.advance(this.pick([0, 3, 20, 400, 3_000, 30_000]));
    }
    await this.heal();
    await this.world.advance(120_000);
    for (const user of [USER, OTHER_USER]) this.commit(true, user);
    await this.world.advance(60_000);
  }

  /** Everything works, and each page is signed in. What a page was told before may yet sign it out: that comes first. */
  async heal() {
    const { server } = this.world;
    Object.assign(server, { isDown: false, isWsBlocked: false, isMute: false, isLedgerAway: false, httpLatencyMs: 5 });
    this.isRough = false;
    // What frames were lost on an open connection, no client can know.
    server.closeAll(1001, 'going_away');
    for (const { tab } of this.pages) {
      tab.thaw();
      tab.fire('pageshow');
      tab.show();
    }
    await this.world.advance(1_000);
    for (const { client } of this.pages) if (['unauthorized', 'closed'].includes(client.current.status)) client.start();
  }

  verdict() {
    const { server } = this.world;
    for (const { client, tab, given } of this.pages) {
      const { epoch, version } = server.state(given);
      const { current } = client;
      assert.deepEqual([current.status, current.epoch, current.version, current.isStale], ['live', epoch, version, false]);
      assert.deepEqual(tab.errors, []);
    }
    const users = new Set(this.pages.map(({ given }) => given));
    assert.equal(server.openSockets.length, this.isShared ? users.size : this.pages.length, 'connections');
    assert.equal(server.thrownOff, 0, 'no page was thrown off for what it called');
  }
}

test('the shown version never falls, and ends right, whatever happens on the way', async (t) => {
  const alone = process.env.BALANCE_TEST_SEED;
  const from = (first, count) => Array.from({ length: count }, (_, index) => first + index);
  const fixed = Math.floor(CASES / 3);
  const fresh = randomInt(2 ** 31);
  t.diagnostic(`seeds ${FIXED_SEED} to ${FIXED_SEED + fixed - 1}, and new ones from ${fresh}`);
  const seeds = alone === undefined ? [...from(FIXED_SEED, fixed), ...from(fresh, CASES - fixed)] : [Number(alone)];
  for (const seed of seeds) {
    await t.test(`seed ${seed}`, async (t) => {
      const one = new Case(t, seed);
      try {
        await one.run();
        for (const { tab } of one.pages) if (tab.errors.length) throw tab.errors[0];
        one.verdict();
      } catch (error) {
        error.message += `\nRun it alone: BALANCE_TEST_SEED=${seed} node --test tests/browser/unit/property.test.mjs`;
        throw error;
      }
    });
  }
});
