// Frames are shuffled, repeated and lost, connections cut, tabs frozen, the ledger restored. Whatever happens, the shown
// version never falls within an epoch, an epoch that is over does not return, and the end is right.
// BALANCE_TEST_SEED=n runs one case alone.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { MemoryStorage } from './support/browser.mjs';
import { randomFrom, TON, USER, World } from './support/world.mjs';

const CASES = Number(process.env.BALANCE_TEST_CASES ?? 60);
const STEPS = 60;

class Case {
  epochs = ['e1'];
  history = new Map(); // `${epoch} ${version}` → balance
  pages = []; // { client, tab, shown }

  constructor(t, seed) {
    this.random = randomFrom(seed);
    this.world = new World(t, { random: randomFrom(seed + 1) });
    this.world.server.delays = () => this.delays();
    this.isRough = true;
    this.isShared = this.random() < 0.7;
    this.storage = new MemoryStorage();
    this.record();
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

  record() {
    const { epoch, version, balances } = this.world.server.state(USER);
    this.history.set(`${epoch} ${version}`, balances.TON);
  }

  open() {
    const { world } = this;
    const tab = world.browser.tab({ hasLocks: this.isShared });
    const client = world.client({ tab, storage: this.random() < 0.5 ? this.storage : undefined, ttlMs: 20_000 + this.below(600_000) });
    const page = { client, tab, shown: null };
    client.subscribe((state) => this.check(page, state));
    client.start();
    this.pages.push(page);
  }

  check(page, { userId, epoch, version, balances, status }) {
    if (version === null) {
      assert.equal(balances, null);
      page.shown = null;
      return;
    }
    assert.equal(userId, USER);
    assert.equal(balances.TON, this.history.get(`${epoch} ${version}`), `the balance of ${epoch} ${version}`);
    const { shown } = page;
    if (shown) {
      const [before, now] = [this.epochs.indexOf(shown.epoch), this.epochs.indexOf(epoch)];
      assert.ok(now >= before, `${shown.epoch} → ${epoch} (${status})`);
      assert.ok(now > before || version >= shown.version, `${shown.version} → ${version} of ${epoch} (${status})`);
    }
    page.shown = { epoch, version };
  }

  commit(push = this.random() < 0.8) {
    const { server } = this.world;
    const { nano } = server.account(USER);
    // Recorded first: a listener checks at once.
    const change = nano > 0n && this.random() < 0.3 ? -1 : this.below(5) * TON + 1;
    const { epoch, version } = server.state(USER);
    const after = nano + BigInt(change);
    this.history.set(`${epoch} ${version + 1}`, `${after / 1_000_000_000n}.${String(after % 1_000_000_000n).padStart(9, '0')}`);
    server.commit(USER, change, { push });
  }

  restore() {
    const { server } = this.world;
    const { version } = server.account(USER);
    const epoch = `e${this.epochs.length + 1}`;
    this.epochs.push(epoch);
    server.restore(epoch, USER, this.below(version + 1), this.below(9) * TON);
    this.record();
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
      [5, () => void client.read()],
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
    this.commit(true);
    await this.world.advance(60_000);
  }

  async heal() {
    const { server } = this.world;
    Object.assign(server, { isDown: false, isWsBlocked: false, isMute: false, isLedgerAway: false, httpLatencyMs: 5 });
    this.isRough = false;
    // What frames were lost on an open connection, no client can know.
    server.closeAll(1001, 'going_away');
    for (const { tab, client } of this.pages) {
      tab.thaw();
      tab.fire('pageshow');
      tab.show();
      if (['unauthorized', 'closed'].includes(client.current.status)) client.start();
    }
  }

  verdict() {
    const { server } = this.world;
    const { epoch, version } = server.state(USER);
    for (const { client, tab } of this.pages) {
      const { current } = client;
      assert.deepEqual([current.status, current.epoch, current.version, current.isStale], ['live', epoch, version, false]);
      assert.deepEqual(tab.errors, []);
    }
    assert.equal(server.openSockets.length, this.isShared ? 1 : this.pages.length, 'connections');
  }
}

test('the shown version never falls, and ends right, whatever happens on the way', async (t) => {
  const alone = process.env.BALANCE_TEST_SEED;
  const first = alone === undefined ? randomInt(2 ** 31) : Number(alone);
  const count = alone === undefined ? CASES : 1;
  t.diagnostic(`seeds ${first} to ${first + count - 1}`);
  for (let seed = first; seed < first + count; seed += 1) {
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
