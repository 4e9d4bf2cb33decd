import assert from 'node:assert/strict';
import test from 'node:test';
import { events } from '../../../src/web/admin/api.js';
import { compare } from '../../../src/web/admin/compare.js';
import { Series, both, quantile } from '../../../src/web/admin/series.js';
import { arrange } from '../../../src/web/admin/timeline.js';

const START_MS = Date.parse('2025-08-04T10:00:00Z');
const snapshot = (second, count, at_most = [0, 0]) => ({
  at: new Date(START_MS + second * 1_000).toISOString(),
  registry: { uptime_s: second, pushes_direct: count },
  counters: { commit: { le_s: [0.1, 1], at_most, count } },
});
const pushes = ({ registry }) => registry.pushes_direct;
const commit = ({ counters }) => counters.commit;

function series(...snapshots) {
  const all = new Series();
  snapshots.forEach((one) => all.add(one));
  return all;
}

test('a rate is what was added between two snapshots, by the time between them', () => {
  const all = series(snapshot(10, 100), snapshot(11, 130), snapshot(13, 150));
  assert.deepEqual(all.rate(pushes), [null, 30, 10]);
  assert.deepEqual(all.level(pushes), [100, 130, 150]);
});

test('across a gap nothing is claimed, and a restart begins anew', () => {
  assert.deepEqual(series(snapshot(10, 100), snapshot(60, 200)).rate(pushes), [null, null]);
  const restarted = series(snapshot(10, 100), { ...snapshot(12, 3), registry: { uptime_s: 1, pushes_direct: 3 } });
  assert.deepEqual(restarted.level(pushes), [3]);
});

test('a snapshot that was had already is not counted twice, and only the latest are kept', () => {
  assert.equal(series(snapshot(10, 1), snapshot(10, 1)).times.length, 1);
  const many = new Series();
  for (let second = 0; second < 700; second++) many.add(snapshot(second, second));
  assert.equal(many.times.length, 600);
  assert.equal(pushes(many.latest), 699);
});

test('buckets are what came into each, with those above every bound last', () => {
  const all = series(snapshot(10, 5, [2, 4]), snapshot(11, 10, [3, 8]));
  assert.deepEqual(all.buckets(commit), [null, [1, 3, 1]]);
  assert.deepEqual(all.bucketsLately(commit, 60), [1, 3, 1]);
  assert.equal(series(snapshot(10, 5)).bucketsLately(commit, 60), null);
});

test('a quantile is between the bounds of its bucket', () => {
  const bounds = [0.1, 1];
  assert.equal(quantile(0.5, [4, 0, 0], bounds), 0.05);
  assert.equal(quantile(0.5, [0, 4, 0], bounds), 0.55);
  assert.equal(quantile(0.99, [0, 0, 4], bounds), 1, 'no more is known than that it is above');
  assert.equal(quantile(0.5, [0, 0, 0], bounds), null);
  assert.equal(quantile(0.5, null, bounds), null);
});

test('both modes are one histogram', () => {
  const one = { le_s: [1], at_most: [2], count: 3 };
  assert.deepEqual(both({ direct: one, paced: one }), { le_s: [1], at_most: [4], count: 6 });
});

test('a commit leads to the push that tells of it, and that to its display; what a snapshot told of, to none', () => {
  const event = (seq, what, version) => ({ seq, what, version, at: new Date(START_MS + seq * 1_000).toISOString() });
  const at = (seq) => START_MS / 1_000 + seq;
  const { points, links } = arrange([event(5, 'displayed', 2), { ...event(4, 'push', 2), entries: 1 }, event(6, 'entry', 3), event(2, 'entry', 2), event(1, 'entry', 1)]);
  assert.deepEqual(points.map(([, row]) => row), [0, 0, 1, 2, 0]);
  assert.deepEqual(links, [[[at(2), 0], [at(4), 1]], [[at(4), 1], [at(5), 2]]]);
});

test('of a conflict the fields that differ are marked, and not those that only the ledger has', () => {
  const rows = compare({ first: { amount: '1', source: 'a', version: 3, metadata: { a: 1 } }, second: { amount: '2', source: 'a', metadata: { a: 1 }, reason: 'r' } });
  assert.deepEqual(rows.filter((row) => row.differs).map((row) => row.field), ['amount', 'reason']);
  assert.ok(compare({ first: null, second: { amount: '2' } }).every((row) => !row.differs));
});

test('events are read whole, however they are cut on the way', async () => {
  const text = 'event: snapshot\ndata: {"a":": 1"}\n\nevent: problem\ndata: {"detail":"ж"}\n\nevent: cut';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 7, bytes.length]) {
    const body = new ReadableStream({
      start(controller) {
        for (let from = 0; from < bytes.length; from += size) controller.enqueue(bytes.slice(from, from + size));
        controller.close();
      },
    });
    const read = [];
    for await (const event of events(body)) read.push(event);
    assert.deepEqual(read, [['snapshot', { a: ': 1' }], ['problem', { detail: 'ж' }]]);
  }
});
