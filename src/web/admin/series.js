// Snapshots over time, and what is made of two that follow each other. Knows no page.

const SNAPSHOTS_MAX = 600;
/** Between snapshots that are further apart nothing is drawn, in seconds. */
const GAP_S = 5;

export class Series {
  #snapshots = [];

  add(snapshot) {
    const at = Date.parse(snapshot.at) / 1_000;
    const last = this.#snapshots.at(-1);
    // Another process counts from 0 again.
    if (last && snapshot.registry.uptime_s < last.registry.uptime_s) this.#snapshots = [];
    if (last && at <= last.at_s) return;
    this.#snapshots.push({ ...snapshot, at_s: at });
    if (this.#snapshots.length > SNAPSHOTS_MAX) this.#snapshots.shift();
  }

  get latest() {
    return this.#snapshots.at(-1);
  }

  get times() {
    return this.#snapshots.map((snapshot) => snapshot.at_s);
  }

  level(pick) {
    return this.#snapshots.map((snapshot) => pick(snapshot) ?? null);
  }

  /** How fast a count grew before each snapshot, per second; null where that is not known. */
  rate(pick) {
    return this.#steps((before, now, seconds) => ((pick(now) ?? 0) - (pick(before) ?? 0)) / seconds);
  }

  /** How many came into each bucket of a histogram before each snapshot; the last one is above every bound. */
  buckets(pick) {
    return this.#steps((before, now) => increments(pick(before), pick(now)));
  }

  /** The same over the last so many seconds. */
  bucketsLately(pick, seconds) {
    const now = this.latest;
    const first = now && this.#snapshots.find((snapshot) => snapshot.at_s >= now.at_s - seconds);
    return first && first !== now ? increments(pick(first), pick(now)) : null;
  }

  #steps(of) {
    return this.#snapshots.map((now, index) => {
      const before = this.#snapshots[index - 1];
      const seconds = before ? now.at_s - before.at_s : Infinity;
      return seconds > GAP_S ? null : of(before, now, seconds);
    });
  }
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
