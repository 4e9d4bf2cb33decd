// A number that counts up (or down) to its new value. On its way it only ever shows what lies between the old and the new
// value, and it ends with exactly the new one.

import { format } from '/client/balance-client.js';
import { locale } from '../shared/text.js';
import { make, write } from '../shared/dom.js';

const COUNT_MS = 500;
const STEPS = 1_000;
const stillness = matchMedia('(prefers-reduced-motion: reduce)');

export class Amount {
  element = make('p', 'amount');
  #whole = make('span', 'whole');
  #fraction = make('span', 'fraction');
  #amount = null;
  #count = null;

  constructor(code) {
    this.element.dataset.code = code;
    const digits = make('span', 'digits');
    digits.append(this.#whole, this.#fraction);
    this.element.append(digits, make('span', 'code', code));
  }

  /** Shows an amount, by counting when there is a value to count from. Resolves when it stands there exactly. */
  async show(amount, mayCount) {
    const from = this.#amount;
    if (amount === from) return this.#count;
    this.#amount = amount;
    const start = mayCount && from !== null && !stillness.matches && !document.hidden ? from : amount;
    this.#count = this.#countFrom(start, amount);
    return this.#count;
  }

  /** Writes it again, in another language. */
  write() {
    this.#write(this.#amount, fewest(this.#amount));
  }

  #countFrom(from, to) {
    const digits = Math.max(fewest(from), fewest(to));
    const began = performance.now();
    return new Promise((resolve) => {
      const step = () => {
        if (this.#amount !== to) return resolve();
        const part = Math.min(1, (performance.now() - began) / COUNT_MS);
        if (part === 1 || from === to) finish();
        else {
          this.#write(between(from, to, 1 - (1 - part) ** 3, digits), digits);
          requestAnimationFrame(step);
        }
      };
      const finish = () => {
        clearTimeout(timer);
        if (this.#amount === to) {
          this.#write(to, fewest(to));
          this.element.dataset.amount = to;
        }
        resolve();
      };
      // A page that is put away gets no frames.
      const timer = setTimeout(finish, 2 * COUNT_MS);
      step();
    });
  }

  #write(amount, digits) {
    const text = format(amount, { locale: locale(), minDecimals: digits });
    const point = digits ? Math.max(text.lastIndexOf('.'), text.lastIndexOf(',')) : text.length;
    write(this.#whole, text.slice(0, point));
    write(this.#fraction, text.slice(point));
    this.element.classList.toggle('is-long', text.length > 11);
    this.element.classList.toggle('is-very-long', text.length > 17);
  }
}

/** Digits behind the point: two, or as many as it takes. */
function fewest(amount) {
  const fraction = amount.split('.')[1] ?? '';
  return Math.max(Math.min(2, fraction.length), fraction.replace(/0+$/, '').length);
}

/** An amount on the way, cut off to so many digits: with those of both ends it stays between them. */
function between(from, to, part, digits) {
  const decimals = (to.split('.')[1] ?? '').length;
  const [a, b] = [from, to].map((amount) => BigInt(amount.replace('.', '')));
  const unit = 10n ** BigInt(decimals - digits);
  const units = ((a + ((b - a) * BigInt(Math.round(part * STEPS))) / BigInt(STEPS)) / unit) * unit;
  const text = String(units).padStart(decimals + 1, '0');
  return decimals ? `${text.slice(0, -decimals)}.${text.slice(-decimals)}` : text;
}
