// Snapshots over time, and what is made of two that follow each other. Knows no page.

/** So far back it goes, in seconds, and never further than so many snapshots. */
export const WINDOW_S = 600;
const SNAPSHOTS_MAX = 700;
/** Snapshots that are further apart have a gap between them, in seconds. */
const GAP_S = 5;
/** By so much clock and uptime of one process may disagree: the uptime is in whole seconds. */
const RESTART_S = 3;

export class Series {
  #snapshots = [];

  add(snapshot) {
    const now = { ...snapshot, at_s: Date.parse(snapshot.at) / 1_000 };
    const last = this.latest;
    // All listeners share one snapshot a second, so the same may come twice.
    if (last?.at === now.at) return;
    if (last && isAnother(last, now)) this.#snapshots = [];
    // Of older ones only the numbers are needed.
    else if (last) this.#snapshots[this.#snapshots.length - 1] = { at_s: last.at_s, registry: last.registry, counters: last.counters };
    // Nothing is known of what lies between, so no line may lead across.
    if (this.latest && now.at_s - last.at_s > GAP_S) this.#snapshots.push({ at_s: (last.at_s + now.at_s) / 2, isGap: true });
    this.#snapshots.push(now);
    const first = this.#snapshots.findIndex(({ at_s }) => at_s >= now.at_s - WINDOW_S);
    this.#snapshots.splice(0, Math.max(first, this.#snapshots.length - SNAPSHOTS_MAX));
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
    const first = now && this.#snapshots.find((snapshot) => !snapshot.isGap && snapshot.at_s >= now.at_s - seconds);
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
