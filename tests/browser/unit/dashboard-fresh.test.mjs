// How soon the dashboard tells that the ledger or the service is away. Fake clock, fetch and page: whatever the phase in which
// it happens, no test waits.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Clock, settle } from './support/clock.mjs';

const clock = new Clock();
const element = () => ({ hidden: true, textContent: '' });
const elements = { banner: element(), 'banner-text': element(), 'banner-age': element() };
const classes = new Set();
const body = {
  classList: { toggle: (name, isOn) => (isOn ? classes.add(name) : classes.delete(name)), contains: (name) => classes.has(name) },
  style: { setProperty() {} },
};
const intervals = new Map();
globalThis.navigator ??= { language: 'en-US' };
globalThis.document = { hidden: false, body, documentElement: {}, querySelectorAll: () => [], getElementById: (id) => elements[id] };
const { Freshness } = await import('../../../src/web/admin/freshness.js');
await import('../../../src/web/admin/words.js');

/** Snapshots come each second, until something is away at a phase of them; how long it takes until that is told, and how. */
async function toldAfter(phaseMs, { answers, isSilent = false }) {
  const real = { setTimeout, clearTimeout, setInterval, clearInterval, now: Date.now, performance: performance.now, fetch, timeout: AbortSignal.timeout };
  AbortSignal.timeout = (ms) => {
    const end = new AbortController();
    clock.setTimeout(() => end.abort(new DOMException('late', 'TimeoutError')), ms);
    return end.signal;
  };
  globalThis.setTimeout = (task, ms) => clock.setTimeout(task, ms);
  globalThis.clearTimeout = (id) => clock.clearTimeout(id);
  globalThis.setInterval = (task, ms) => {
    const id = {};
    const again = () => intervals.set(id, clock.setTimeout(() => (again(), task()), ms));
    again();
    return id;
  };
  globalThis.clearInterval = (id) => clock.clearTimeout(intervals.get(id));
  Date.now = () => clock.wallMs;
  performance.now = () => clock.nowMs;
  let isAway = false;
  globalThis.fetch = async (_, { signal }) => {
    if (!isAway) return { status: 200 };
    return answers(signal);
  };
  const freshness = new Freshness();
  freshness.start(() => {});
  const pulse = setInterval(() => isAway && isSilent || freshness.heard({ at: new Date(clock.wallMs).toISOString(), ledger: { is_away: false } }), 995); // they come a little sooner or later
  try {
    await clock.advance(5_000 + phaseMs);
    assert.ok(elements.banner.hidden, 'nothing is wrong yet');
    isAway = true;
    const sinceMs = clock.nowMs;
    while (elements.banner.hidden && clock.nowMs - sinceMs < 10_000) await clock.advance(10);
    return { ms: clock.nowMs - sinceMs, words: elements['banner-text'].textContent, isDim: classes.has(isSilent ? 'is-service-away' : 'is-ledger-away') };
  } finally {
    clearInterval(pulse);
    freshness.stop();
    await settle();
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout, setInterval: real.setInterval, clearInterval: real.clearInterval, fetch: real.fetch });
    [Date.now, performance.now, AbortSignal.timeout] = [real.now, real.performance, real.timeout];
  }
}

const never = (signal) => new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)));

test('a ledger that answers nothing is told within 3 s, whenever it is locked', async () => {
  for (let phaseMs = 0; phaseMs < 2_000; phaseMs += 70) {
    const { ms, words, isDim } = await toldAfter(phaseMs, { answers: never });
    assert.ok(ms <= 3_000 && isDim, `${ms} ms at ${phaseMs}`);
    assert.match(words, /^The ledger has not answered since/);
  }
});

test('a ledger that is told to be away is told at the next question', async () => {
  for (const phaseMs of [0, 333, 999]) {
    const { ms, words } = await toldAfter(phaseMs, { answers: () => ({ status: 503 }) });
    assert.ok(ms <= 1_500, `${ms} ms`);
    assert.match(words, /^The ledger has not answered since/);
  }
});

test('a service that falls silent is told within 3 s, and its door is not taken for the ledger', async () => {
  for (let phaseMs = 0; phaseMs < 1_000; phaseMs += 110) {
    const { ms, words, isDim } = await toldAfter(phaseMs, { answers: never, isSilent: true });
    assert.ok(ms <= 3_000 && isDim, `${ms} ms at ${phaseMs}`);
    assert.match(words, /^No live data since/);
  }
});
