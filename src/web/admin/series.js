// Snapshots over time, and what is made of two that follow each other. Knows no page.

/** So far back it goes, in seconds, and never further than so many snapshots. */
export const WINDOW_S = 3_600;
const SNAPSHOTS_MAX = 1_600;
/** Of what is older than this, one snapshot in `STEP_S` is kept, as in the service's history. */
const FINE_S = 600;
const STEP_S = 5;
/** Snapshots that are further apart have a gap between them, in seconds: a step of the history that came late is none. */
const GAP_S = 12;
/** Of two that are closer only one counts: what was counted between their times would be a spike. */
const CLOSE_S = 0.5;
/** By so much clock and uptime of one process may disagree: the uptime is in whole seconds. */
const RESTART_S = 3;
/** Marks of one kind that are closer are the same, told by the history and by the stream. */
const MARK_S = 10;
const MARKS_MAX = 100;

export class Series {
  #snapshots = [];
  #marks = [];

  add(snapshot) {
    const now = timed(snapshot);
    const last = this.latest;
    // All listeners share one snapshot a second, so the same may come twice.
    if (last?.at === now.at) return;
    // By a clock that was set back, what was before can't be placed.
    if (last && now.at_s < last.at_s) [this.#snapshots, this.#marks] = [[], []];
    else if (last) {
      // Of older ones only the numbers are needed.
      this.#snapshots[this.#snapshots.length - 1] = numbers(last);
      if (now.at_s - last.at_s < CLOSE_S) this.#snapshots.pop();
      this.#notice(last, now);
    }
    this.#push(now);
    this.#thin(now.at_s);
  }

  /** Takes the service's history: what it has from before the page was open, or from while the stream was away. */
  remember({ snapshots = [], marks = [] }) {
    const latest = this.latest;
    const known = this.#snapshots.filter(({ isGap }) => !isGap);
    const isNew = ({ at_s }) => !known.some((one) => Math.abs(one.at_s - at_s) < STEP_S - CLOSE_S) && !(latest && at_s > latest.at_s);
    const all = [...known, ...snapshots.map(timed).filter(isNew)].sort((one, other) => one.at_s - other.at_s);
    this.#snapshots = [];
    for (const one of all) this.#push(one === all.at(-1) ? one : numbers(one));
    for (const { at, what, detail } of marks) this.#mark(Date.parse(at) / 1_000, what, detail);
    if (all.length) this.#thin(all.at(-1).at_s);
  }

  /** What happened, oldest first: `{ at_s, what, detail }`. */
  get marks() {
    return this.#marks;
  }

  #mark(at_s, what, detail = '') {
    if (this.#marks.some((one) => one.what === what && Math.abs(one.at_s - at_s) < MARK_S)) return;
    this.#marks = [...this.#marks, { at_s, what, detail }].sort((one, other) => one.at_s - other.at_s).slice(-MARKS_MAX);
  }

  #notice(last, now) {
    if (isAnother(last, now)) this.#mark(now.at_s - now.registry.uptime_s, 'started');
    else if ((now.counters?.drift ?? 0) > (last.counters?.drift ?? 0)) this.#mark(now.at_s, 'violation');
    const [was, is] = [last, now].map(({ ledger }) => ledger?.is_away);
    if (was === false && is) this.#mark(Date.parse(now.ledger.since ?? now.at) / 1_000, 'ledger_away');
    if (was && is === false) this.#mark(now.at_s, 'ledger_back');
  }

  #push(now) {
    const last = this.latest;
    // Nothing is known of what lies between, so no line may lead across.
    const isTorn = last && (now.at_s - last.at_s > GAP_S || isAnother(last, now));
    if (isTorn) this.#snapshots.push({ at_s: (last.at_s + now.at_s) / 2, isGap: true });
    this.#snapshots.push(now);
  }

  /** Keeps memory bounded. */
  #thin(now_s) {
    const edge = this.#snapshots.findLastIndex(({ at_s }) => at_s < now_s - FINE_S);
    // One leaves the fine part at a time, and goes when it is too close to what stays before it.
    const [before, one] = [this.#snapshots[edge - 1], this.#snapshots[edge]];
    if (before && !before.isGap && !one.isGap && one.at_s - before.at_s < STEP_S - CLOSE_S) this.#snapshots.splice(edge, 1);
    const first = this.#snapshots.findIndex(({ at_s }) => at_s >= now_s - WINDOW_S);
    this.#snapshots.splice(0, Math.max(first, this.#snapshots.length - SNAPSHOTS_MAX));
    this.#marks = this.#marks.filter(({ at_s }) => at_s >= now_s - WINDOW_S);
  }

  get latest() {
    return this.#snapshots.at(-1);
  }

  get times() {
    return this.#snapshots.map((snapshot) => snapshot.at_s);
  }

  level(pick) {
    return this.#snapshots.map((snapshot) => (snapshot.isGap ? null : (pick(snapshot) ?? null)));
  }

  /** How fast a count grew before each snapshot, per second; null where that is not known. */
  rate(pick) {
    return this.#steps((before, now, seconds) => ((pick(now) ?? 0) - (pick(before) ?? 0)) / seconds);
  }

  /** How much a count grew within the last so many seconds; null when there is nothing to compare with. */
  growthLately(pick, seconds) {
    const first = this.#since(seconds);
    return first ? (pick(this.latest) ?? 0) - (pick(first) ?? 0) : null;
  }

  /** How many came into each bucket of a histogram before each snapshot; the last one is above every bound. */
  buckets(pick) {
    return this.#steps((before, now) => increments(pick(before), pick(now)));
  }

  /** The same over the last so many seconds. */
  bucketsLately(pick, seconds) {
    const first = this.#since(seconds);
    return first ? increments(pick(first), pick(this.latest)) : null;
  }

  #since(seconds) {
    const now = this.latest;
    // Another process counted from 0.
    const isOfNow = (snapshot) => !snapshot.isGap && snapshot.registry.uptime_s <= now.registry.uptime_s && !isAnother(snapshot, now);
    const first = now && this.#snapshots.find((snapshot) => snapshot.at_s >= now.at_s - seconds && isOfNow(snapshot));
    return first === now ? undefined : first;
  }

  #steps(of) {
    return this.#snapshots.map((now, index) => {
      const before = this.#snapshots[index - 1];
      const isKnown = before && !before.isGap && !now.isGap;
      return isKnown ? of(before, now, now.at_s - before.at_s) : null;
    });
  }
}

const timed = (snapshot) => ({ ...snapshot, at_s: Date.parse(snapshot.at) / 1_000 });
const numbers = ({ at, at_s, registry, counters, ledger }) => ({ at, at_s, registry, counters, ledger });

/** Whether a snapshot is of another process, which counts from 0 again, or by a clock that was set back. */
function isAnother(last, now) {
  const [passed_s, ran_s] = [now.at_s - last.at_s, now.registry.uptime_s - last.registry.uptime_s];
  return passed_s < 0 || ran_s < 0 || passed_s - ran_s > RESTART_S;
}

const single = ({ at_most, count }) => [...at_most, count].map((value, index, all) => value - (all[index - 1] ?? 0));

function increments(before, now) {
  const old = single(before);
  return single(now).map((value, index) => value - old[index]);
}

/** Between two bounds as if all were spread evenly; above the last bound it is that bound. Null without any. */
export function quantile(part, counts, bounds) {
  const total = counts?.reduce((sum, count) => sum + count, 0) ?? 0;
  if (total === 0) return null;
  let left = part * total;
  for (const [index, count] of counts.entries()) {
    if (index >= bounds.length) break;
    if (count > 0 && left <= count) {
      const from = bounds[index - 1] ?? 0;
      return from + ((bounds[index] - from) * left) / count;
    }
    left -= count;
  }
  return bounds.at(-1);
}

/** Two histograms with the same bounds as one. */
export const both = ({ direct, paced }) => ({
  le_s: direct.le_s,
  at_most: direct.at_most.map((count, index) => count + paced.at_most[index]),
  count: direct.count + paced.count,
});

/** Which column and row of a heat map lies at a time and a height; null where nothing is. */
export function cellAt(times, cells, at_s, height) {
  const column = times.findIndex((time) => time >= at_s);
  const row = Math.floor(height);
  const count = column > 0 ? cells[column]?.[row] : undefined;
  return count === undefined ? null : { column, row, count };
}

/** The places of values without a neighbour: no line goes through them. */
export function alone(values) {
  const isThere = (at) => (values[at] ?? null) !== null;
  return [...values.keys()].filter((at) => isThere(at) && !isThere(at - 1) && !isThere(at + 1));
}
