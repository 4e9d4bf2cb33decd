import assert from 'node:assert/strict';
import test from 'node:test';
import { compare } from '../../../src/web/admin/compare.js';
import { isCluster } from '../../../src/web/admin/nodes.js';
import { Series, WINDOW_S, alone, both, cellAt, quantile } from '../../../src/web/admin/series.js';
import { arrange, joined } from '../../../src/web/admin/timeline.js';

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
  const torn = series(snapshot(10, 100), snapshot(60, 200));
  assert.deepEqual([torn.rate(pushes), torn.level(pushes), torn.buckets(commit)], [[null, null, null], [100, null, 200], [null, null, null]]);
  assert.deepEqual([torn.times[1] - torn.times[0], torn.growthLately(pushes, 60), torn.growthLately(pushes, 30)], [25, 100, null]);
  const restarted = series(snapshot(10, 100), { ...snapshot(12, 3), registry: { uptime_s: 1, pushes_direct: 3 } });
  assert.deepEqual([restarted.level(pushes), restarted.rate(pushes), restarted.growthLately(pushes, 60)], [[100, null, 3], [null, null, null], null]);
  assert.deepEqual(restarted.marks.map(({ what }) => what), ['started']);
  const older = series(snapshot(10, 100), { ...snapshot(60, 200), registry: { uptime_s: 40, pushes_direct: 200 } });
  assert.deepEqual(older.rate(pushes), [null, null, null], 'it has run for longer than the one before, and is another all the same');
  const setBack = series(snapshot(10, 100), { ...snapshot(5, 110), registry: { uptime_s: 11, pushes_direct: 110 } });
  assert.deepEqual(setBack.level(pushes), [110], 'a clock that was set back does not stop the picture');
});

test('a snapshot that was had already is not counted twice, and only the latest minutes are kept', () => {
  assert.equal(series(snapshot(10, 1), snapshot(10, 1)).times.length, 1);
  const many = new Series();
  for (let second = 0; second < 2 * WINDOW_S; second++) many.add({ ...snapshot(second, second), audit: {}, canary: {} });
  assert.ok(many.times.length < 601 + (WINDOW_S - 600) / 4, `${many.times.length}`);
  assert.ok(many.times.at(-1) - many.times[0] > WINDOW_S - 6);
  assert.deepEqual([...new Set(many.rate(pushes).slice(1))], [1], 'seconds and steps of five make one line');
  assert.equal(pushes(many.latest), 2 * WINDOW_S - 1);
  const frequent = new Series();
  for (let tick = 0; tick < 4_000; tick++) frequent.add({ ...snapshot(0, tick), at: new Date(START_MS + tick * 10).toISOString(), registry: { uptime_s: Math.floor(tick / 100), pushes_direct: tick } });
  assert.ok(frequent.times.length <= 1_600, 'whatever the clock says');
});

test('history and stream make one series, with no spike where they meet and the marks of both', () => {
  const all = series(snapshot(100, 1_000), snapshot(101, 1_010));
  const history = [80, 85, 90, 95, 100.2, 104].map((second) => snapshot(second, second * 10));
  const started = { at: new Date(START_MS).toISOString(), what: 'started', detail: '' };
  all.remember({ snapshots: history, marks: [started, started] });
  assert.deepEqual(all.times.map((at) => at - START_MS / 1_000), [80, 85, 90, 95, 100, 101], 'what the stream told stands, and nothing is newer');
  assert.deepEqual(all.rate(pushes), [null, 10, 10, 10, 10, 10]);
  all.add({ ...snapshot(102, 1_020), ledger: { is_away: false } });
  all.add({ ...snapshot(103, 1_030), ledger: { is_away: true, since: new Date(START_MS + 102_500).toISOString() } });
  all.add({ ...snapshot(104, 1_040), ledger: { is_away: false } });
  assert.deepEqual(all.marks.map(({ what }) => what), ['started', 'ledger_away', 'ledger_back']);
});

test('what grew lately is told of the last seconds alone', () => {
  const all = series(snapshot(0, 5), snapshot(30, 10), snapshot(60, 12), snapshot(85, 40));
  assert.equal(all.growthLately(pushes, 60), 30);
  assert.equal(all.growthLately(({ registry }) => registry.never, 60), 0);
  assert.equal(series(snapshot(0, 5)).growthLately(pushes, 60), null);
  assert.equal(series().growthLately(pushes, 60), null);
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

test('a cell of the heat map is what came in before a snapshot, into one bucket', () => {
  const [times, cells] = [[10, 11, 12], [null, [1, 0, 2], [0, 5, 0]]];
  assert.deepEqual(cellAt(times, cells, 10.5, 0.2), { column: 1, row: 0, count: 1 });
  assert.deepEqual(cellAt(times, cells, 11.01, 1.9), { column: 2, row: 1, count: 5 });
  assert.deepEqual(cellAt(times, cells, 11, 2.5), { column: 1, row: 2, count: 2 }, 'above every bound');
  for (const [at, height] of [[9, 0], [10, 0], [12.5, 0], [10.5, 3], [10.5, -0.5]]) assert.equal(cellAt(times, cells, at, height), null, `${at}, ${height}`);
  assert.equal(cellAt(times, [null, null, [1]], 10.5, 0), null, 'across a gap');
});

test('events are joined once each, newest first, and not more than are shown', () => {
  const of = (...seqs) => seqs.map((seq) => ({ seq }));
  const seqs = (events) => events.map(({ seq }) => seq);
  assert.deepEqual(seqs(joined(of(3, 2, 1), of(5, 4))), [5, 4, 3, 2, 1]);
  assert.deepEqual(seqs(joined(of(3, 2), of(3, 1))), [3, 2, 1]);
  const many = joined(of(...Array(300).keys()), of(300));
  assert.deepEqual([many.length, many[0].seq, many.at(-1).seq], [200, 300, 101]);
});

test('a push of several commits is led to by each of them, and a display by every session that made one', () => {
  const event = (seq, what, version, more) => ({ seq, what, version, at: new Date(START_MS + seq * 1_000).toISOString(), ...more });
  const events = [event(1, 'entry', 1), event(2, 'entry', 2), event(3, 'push', 2, { entries: 2 }), event(4, 'displayed', 2), event(5, 'displayed', 2), event(6, 'displayed', 9)];
  const links = arrange(events).links.map(([from, to]) => [from[0] - START_MS / 1_000, to[0] - START_MS / 1_000]);
  assert.deepEqual(links, [[1, 3], [2, 3], [3, 4], [3, 5]], 'and one of a push that is forgotten by none');
  assert.deepEqual(arrange([]), { points: [], links: [] });
});

test('a value without a neighbour is a point of its own, since no line goes through it', () => {
  assert.deepEqual(alone([1, null, 2, 3, null, 4, undefined, null, 0]), [0, 5, 8]);
  assert.deepEqual(alone([]), []);
});

test('a process is in a cluster when it knows of another, has a bus, or does not hear all', () => {
  const alone = { covered: true, connected: false, nodes: [] };
  assert.deepEqual([alone, undefined, { ...alone, connected: true }, { ...alone, covered: false }, { ...alone, nodes: [{}] }].map(isCluster), [false, false, true, true, true]);
});
