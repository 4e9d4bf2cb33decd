// What stretch of time the charts of a group show: the latest, or one that was chosen. Knows no page.

export class Stretch {
  span_s = 900;
  #chosen = null;
  #latest_s = 0;
  marks = [];
  changed = () => {};

  get isChosen() {
    return this.#chosen !== null;
  }

  get shown() {
    return this.#chosen ?? [this.#latest_s - this.span_s, this.#latest_s];
  }

  goesOn(latest_s) {
    this.#latest_s = latest_s;
  }

  choose(from, to) {
    this.#chosen = from === null ? null : [from, to];
    this.changed();
  }

  /** Moves by half of what is shown; at the end it goes on with time again. */
  move(direction) {
    const [from, to] = this.shown;
    const by = ((to - from) / 2) * direction;
    if (to + by >= this.#latest_s) this.choose(null);
    else this.choose(from + by, to + by);
  }
}
