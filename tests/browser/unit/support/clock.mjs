// Time that passes only when a test says so.

/** Lets everything that waits for nothing but its turn happen. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class Clock {
  #timers = new Map();
  #lastId = 0;
  nowMs = 1_000;
  wallOffsetMs = Date.UTC(2026, 0, 1);

  get wallMs() {
    return this.nowMs + this.wallOffsetMs;
  }

  setTimeout(task, ms = 0) {
    const id = ++this.#lastId;
    // As in a browser: what does not fit into 31 bits fires at once.
    const waitMs = ms > 2 ** 31 - 1 ? 1 : Math.max(0, ms || 0);
    this.#timers.set(id, { id, task, atMs: this.nowMs + waitMs });
    return id;
  }

  clearTimeout(id) {
    this.#timers.delete(id);
  }

  get pendingCount() {
    return this.#timers.size;
  }

  #next(untilMs) {
    let next;
    for (const timer of this.#timers.values()) {
      if (timer.atMs <= untilMs && (!next || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  }

  async advance(ms) {
    const untilMs = this.nowMs + ms;
    await settle();
    for (let next = this.#next(untilMs); next; next = this.#next(untilMs)) {
      this.#timers.delete(next.id);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.task();
      await settle();
    }
    this.nowMs = untilMs;
  }
}
