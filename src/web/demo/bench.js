// The bench: sends entries through the service's own signed webhooks, or pays on an imitated chain, and tells how long each
// step took until the page showed it.

import { signed } from './card.js';
import { find, make, painted } from '../shared/dom.js';
import { toggle } from './line.js';
import { duration, number, text, word } from '../shared/text.js';
import { committed } from './times.js';
import { pay } from './wallet.js';

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
    const sent = { item: make('li'), entry, beganMs: performance.now() };
    this.#sent = [sent, ...this.#sent].slice(0, SENT_MAX);
    this.#write(sent);
    find('sent').replaceChildren(...this.#sent.map(({ item }) => item));
    find('no-sent').hidden = true;
    try {
      await (name === 'chain' ? this.#pay(sent) : this.#post(sent));
    } catch {
      sent.isLost = true;
    }
    this.write();
  }

  async #pay(sent) {
    sent.chain = {};
    await pay(sent.entry, sent.beganMs, (chain) => {
      sent.chain = chain;
      this.#write(sent);
    });
  }

  async #post(sent) {
    const { entry } = sent;
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
  }

  #tell() {
    for (const sent of this.#sent) this.#write(sent);
  }

  /** Writes everything again. */
  write() {
    for (const tile of tiles) {
      const entry = tile.dataset.send === 'again' ? this.#last : this.#entries?.[tile.dataset.send];
      tile.disabled = !entry;
      if (tile.dataset.send !== 'again') tile.querySelector('small').textContent = entry ? hintOf(tile.dataset.send, entry) : '';
    }
    const cut = find('cut');
    cut.setAttribute('aria-pressed', String(this.#isCut));
    cut.querySelector('span').textContent = text(this.#isCut ? 'mend' : 'cut');
    cut.querySelector('small').textContent = text(this.#isCut ? 'mendHint' : 'cutHint');
    this.#tell();
  }

  #write(sent) {
    const change = changeOf(sent.entry);
    const head = make('strong', '', sent.chain ? text('fromWallet', change) : change);
    const steps = this.#stepsOf(sent).map((step) => make('span', 'step', step));
    sent.item.classList.toggle('is-refused', (sent.result?.status ?? 200) !== 200 || sent.isLost === true);
    sent.item.replaceChildren(head, ...steps);
  }

  #stepsOf(sent) {
    const { result, chain, committedMs, isLost } = sent;
    if (chain) return this.#stepsOnChain(sent);
    if (isLost) return [text('lost')];
    if (!result) return [text('sending')];
    const { status, answer } = result;
    if (status !== 200) return [text('refused', word('codes', answer.code))];
    if (answer.duplicate) return [text('duplicate', answer.version)];
    return this.#stepsToScreen(sent, committedMs, answer.version);
  }

  #stepsOnChain(sent) {
    const { finalMs, readMs, committedMs, version } = sent.chain;
    const steps = [];
    if (finalMs !== undefined) steps.push(text('final', exact(finalMs)));
    if (readMs !== undefined) steps.push(text('watched', exact(readMs)));
    if (sent.isLost) return [...steps, text('lost')];
    if (version !== undefined) return [...steps, ...this.#stepsToScreen(sent, committedMs, version)];
    return [...steps, text(readMs !== undefined ? 'waitsForLedger' : finalMs !== undefined ? 'waitsForWatcher' : 'waitsForChain')];
  }

  #stepsToScreen({ beganMs, entry, chain }, committedMs, version) {
    const told = chain ? exact : duration;
    const steps = [text('committed', told(committedMs))];
    if (entry.user_id !== this.#userId) return steps;
    const paint = this.#paints.find((one) => one.version >= version);
    if (!paint?.paintedMs) return [...steps, text('waiting')];
    steps.push(text('shown', told(Math.max(committedMs, paint.paintedMs - beganMs))));
    if (paint.settledMs) steps.push(text('counted', told(paint.settledMs - beganMs)));
    return steps;
  }
}

function entriesOf(userId, balances) {
  const codes = Object.keys(balances);
  const some = (code, whole, amount) => ({ user_id: userId, currency: code, amount: balances[code].includes('.') ? amount : whole });
  const coin = codes.includes('TON') ? 'TON' : codes[0];
  const point = codes.includes('UNI') ? 'UNI' : codes.at(-1);
  const isToncoin = balances.TON?.split('.')[1]?.length === 9;
  return {
    deposit: { kind: 'deposit', ...some(coin, '1', '0.1') },
    reward: { kind: 'reward', source: 'farming', ...some(point, '1', '2.5') },
    withdrawal: { kind: 'withdrawal', ...some(coin, '1', '0.05') },
    chain: isToncoin ? { kind: 'deposit', ...some('TON', '1', '0.5') } : null,
  };
}

const changeOf = ({ kind, amount, currency }) => signed(kind === 'withdrawal' ? `-${amount}` : amount, currency);
const hintOf = (name, entry) => (name === 'chain' ? text('withComment', changeOf(entry), entry.user_id) : changeOf(entry));
// On chain, what lies between two steps is short beside what came before.
const exact = (ms) => `${number(ms)}\u00a0${text('ms')}`;
