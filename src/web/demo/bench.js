// The bench: sends entries through the service's own signed webhooks, and tells how long each took to be committed and to be seen.

import { signed } from './card.js';
import { find, make, painted } from '../shared/dom.js';
import { toggle } from './line.js';
import { duration, text, word } from '../shared/text.js';

const SENT_MAX = 12;
const PAINTS_MAX = 64;
const tiles = [...document.querySelectorAll('[data-send]')];

export class Bench {
  #userId = null;
  #entries = null; // what each tile sends; null while no balance, and so no currency, is known
  #last = null;
  #paints = []; // { version, paintedMs, settledMs }, the latest
  #sent = [];
  #isCut = false;

  constructor() {
    for (const tile of tiles) tile.addEventListener('click', () => this.#send(tile.dataset.send));
    find('cut').addEventListener('click', () => {
      this.#isCut = toggle();
      this.write();
    });
    this.write();
  }

  /** What the page shows now; `settled` resolves when the numbers stand still. */
  async follow({ userId, version, balances }, settled) {
    if (userId !== this.#userId) {
      this.#last = null;
      this.#paints = [];
    }
    this.#userId = userId;
    this.#entries = balances && entriesOf(userId, balances);
    this.write();
    if (version === null || this.#paints.at(-1)?.version >= version || document.hidden) return;
    const paint = { version };
    this.#paints = [...this.#paints, paint].slice(-PAINTS_MAX);
    paint.paintedMs = await painted();
    this.#tell();
    await settled;
    paint.settledMs = await painted();
    this.#tell();
  }

  async #send(name) {
    const entry = name === 'again' ? this.#last : this.#entries[name];
    const item = make('li');
    const sent = { item, entry, beganMs: performance.now() };
    this.#sent = [sent, ...this.#sent].slice(0, SENT_MAX);
    this.#write(sent);
    find('sent').replaceChildren(...this.#sent.map(({ item }) => item));
    find('no-sent').hidden = true;
    try {
      const response = await fetch('/dev/v1/entries', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(entry),
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      sent.result = await response.json();
      sent.committedMs = committed(sent.result, performance.now() - sent.beganMs);
      if (sent.result.status === 200 && entry.kind === 'deposit' && entry.user_id === this.#userId) {
        this.#last = { ...sent.result.entry, kind: 'deposit' };
      }
    } catch {
      sent.isLost = true;
    }
    this.write();
  }

  #tell() {
    for (const sent of this.#sent) this.#write(sent);
  }

  /** Writes everything again. */
  write() {
    for (const tile of tiles) {
      const entry = tile.dataset.send === 'again' ? this.#last : this.#entries?.[tile.dataset.send];
      tile.disabled = !entry;
      if (tile.dataset.send !== 'again') tile.querySelector('small').textContent = entry ? changeOf(entry) : '';
    }
    const cut = find('cut');
    cut.setAttribute('aria-pressed', String(this.#isCut));
    cut.querySelector('span').textContent = text(this.#isCut ? 'mend' : 'cut');
    cut.querySelector('small').textContent = text(this.#isCut ? 'mendHint' : 'cutHint');
    this.#tell();
  }

  #write(sent) {
    const head = make('strong', '', changeOf(sent.entry));
    const steps = this.#stepsOf(sent).map((step) => make('span', 'step', step));
    sent.item.classList.toggle('is-refused', (sent.result?.status ?? 200) !== 200 || sent.isLost === true);
    sent.item.replaceChildren(head, ...steps);
  }

  #stepsOf({ result, committedMs, beganMs, entry, isLost }) {
    if (isLost) return [text('lost')];
    if (!result) return [text('sending')];
    const { status, answer } = result;
    if (status !== 200) return [text('refused', word('codes', answer.code))];
    if (answer.duplicate) return [text('duplicate', answer.version)];
    const steps = [text('committed', duration(committedMs))];
    if (entry.user_id !== this.#userId) return steps;
    const paint = this.#paints.find(({ version }) => version >= answer.version);
    if (!paint?.paintedMs) return [...steps, text('waiting')];
    steps.push(text('shown', duration(Math.max(committedMs, paint.paintedMs - beganMs))));
    if (paint.settledMs) steps.push(text('counted', duration(paint.settledMs - beganMs)));
    return steps;
  }
}

/** From the click to the commit. The way to the service and back is halved, since its clock need not be the page's. */
function committed({ sent_at, took_us, answer }, roundTripMs) {
  const tookMs = took_us / 1_000;
  const [sentMs, committedMs] = [sent_at, answer.committed_at].map(fine);
  const toCommitMs = Math.min(tookMs, Math.max(0, committedMs - sentMs));
  return Math.max(0, roundTripMs - tookMs) / 2 + (answer.duplicate ? tookMs : toCommitMs);
}

/** Milliseconds of a timestamp with microseconds, which `Date` cuts off. */
function fine(timestamp = '') {
  return Date.parse(timestamp) + Number(timestamp.slice(23, 26)) / 1_000;
}

function entriesOf(userId, balances) {
  const codes = Object.keys(balances);
  const some = (code, whole, amount) => ({ user_id: userId, currency: code, amount: balances[code].includes('.') ? amount : whole });
  const coin = codes.includes('TON') ? 'TON' : codes[0];
  const point = codes.includes('UNI') ? 'UNI' : codes.at(-1);
  return {
    deposit: { kind: 'deposit', ...some(coin, '1', '0.1') },
    reward: { kind: 'reward', source: 'farming', ...some(point, '1', '2.5') },
    withdrawal: { kind: 'withdrawal', ...some(coin, '1', '0.05') },
  };
}

const changeOf = ({ kind, amount, currency }) => signed(kind === 'withdrawal' ? `-${amount}` : amount, currency);
