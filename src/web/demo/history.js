// The entries behind the balance, newest first. Read again when the version has changed, one read at a time.

import { format } from '/client/balance-client.js';
import { signed } from './card.js';
import { find, icon, make } from '../shared/dom.js';
import { capital, locale, text, time, word } from '../shared/text.js';

const PAGE = 6;
const KEPT_MAX = 200;
const LONG = 18; // characters that still fit beside what it is

export class History {
  #read;
  #entries = [];
  #version = 0;
  #epoch = null;
  #isKnown = false; // that nothing is there is only said when it is so
  #isReading = false;
  #isOver = false;
  #wanted = 0;
  #turn = 0; // counts what was forgotten: an answer from before is nobody's

  /** `read(limit, before)` answers entries, newest first. */
  constructor(read) {
    this.#read = read;
    find('more').addEventListener('click', () => this.#older());
    this.write();
  }

  /** Makes the list go up to this version. */
  async follow(version, epoch) {
    if (epoch !== this.#epoch) this.#forget(epoch);
    this.#wanted = version;
    if (version === 0) {
      this.#isKnown = true;
      this.write();
    }
    if (this.#isReading || version <= this.#version) return;
    this.#isReading = true;
    const turn = this.#turn;
    const read = await this.#read(PAGE).catch(() => null);
    this.#isReading = false;
    // Without an answer the list stays as it is, and the next change asks again.
    if (this.#isOver || this.#epoch === null || read === null) return;
    const isSame = turn === this.#turn;
    const known = this.#version;
    if (isSame) this.#merge(read);
    // Only while there is something to gain: what is asked for may not be readable yet.
    if (!isSame || this.#version > known) await this.follow(this.#wanted, this.#epoch);
  }

  stop() {
    this.#isOver = true;
    this.#forget(null);
  }

  /** There is no user any more, for now. */
  clear() {
    if (this.#epoch !== null) this.#forget(null);
  }

  #forget(epoch) {
    this.#turn += 1;
    this.#epoch = epoch;
    this.#isKnown = false;
    this.#version = 0;
    this.#entries = [];
    this.write();
  }

  async #older() {
    const before = this.#entries.at(-1).version;
    const turn = this.#turn;
    const read = await this.#read(PAGE, before).catch(() => []);
    // Meanwhile it may have been forgotten, or read from its top again.
    if (turn !== this.#turn || this.#entries.at(-1)?.version !== before) return;
    this.#entries.push(...read.filter(({ version }) => version < before));
    this.write();
  }

  #merge(read) {
    const known = this.#version;
    this.#version = Math.max(known, read[0]?.version ?? 0);
    const oldest = read.at(-1)?.version ?? Infinity;
    // What came in between and is not here would leave a hole.
    const kept = this.#entries[0]?.version >= oldest - 1 ? this.#entries.filter(({ version }) => version < oldest) : [];
    this.#entries = [...read, ...kept].slice(0, KEPT_MAX);
    this.write(known || Infinity);
  }

  /** Writes the list; entries after `known` come in softly. */
  write(known = Infinity) {
    find('history').hidden = this.#entries.length === 0 && !this.#isKnown;
    find('no-entries').hidden = this.#entries.length > 0;
    find('more').hidden = !(this.#entries.at(-1)?.version > 1);
    find('entries').replaceChildren(...this.#entries.map((entry) => row(entry, entry.version > known)));
  }
}

function row({ kind, source, currency, amount, balance_after, committed_at, version }, isNew) {
  const change = signed(amount, currency);
  const item = make('li', 'entry');
  item.classList.toggle('is-new', isNew);
  item.classList.toggle('is-long', change.length > LONG);
  item.dataset.kind = kind;
  item.dataset.version = version;
  const picture = make('span', 'picture');
  picture.append(icon(kind));
  const what = make('span', 'what', capital(word('sources', source)));
  const when = make('time', 'when', time(committed_at));
  when.dateTime = committed_at;
  const much = make('span', 'much', change);
  much.classList.toggle('is-less', change.startsWith('−'));
  const after = make('span', 'after', text('balanceAfter', format(balance_after, { locale: locale() })));
  item.append(picture, what, much, when, after);
  return item;
}
