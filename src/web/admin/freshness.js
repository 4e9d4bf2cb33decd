// How old what is shown is. The service is away when its stream has failed or said nothing for `SILENT_MS`; the ledger is away
// when the service says so, in its snapshots (`ledger`) or by `/readyz`.
// What is old is dimmed and has its age, and a banner says what is away and since when.

import { find, write } from '../shared/dom.js';
import { duration, text, time } from '../shared/text.js';

/** Snapshots come each second. With what lies between two looks it is told within 3 s. */
const SILENT_MS = 2_300;
const LOOK_MS = 250;
/** A ledger that is locked answers late or never. Asked so often and waited for so long, it is told within 3 s, too. */
const ASK_READY_MS = 1_000;
const READY_MS = 1_200;

export class Freshness {
  #heard = null; // when the last snapshot came, by two clocks: { at: RFC 3339, ms: performance.now() }
  #why = null; // why the stream ended
  #toldSince = null; // since when the ledger is away by the snapshots, Unix ms
  #readySince = null; // since when it is away by `/readyz`, which learns of it sooner
  #listsSince = null; // since when the list in sight could not be read again, Unix ms
  #timer = null;
  #asked = null; // when `/readyz` was asked last, performance.now(); null: never
  #asking = null; // ends a question

  /** `changed` is called when the service went away or came back. */
  start(changed) {
    this.stop();
    this.#heard = { at: Date.now(), ms: performance.now() };
    this.#asked = null;
    this.#timer = setInterval(() => this.#look(changed), LOOK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#asking?.abort();
    [this.#timer, this.#heard, this.#why] = [null, null, null];
    [this.#toldSince, this.#readySince, this.#listsSince] = [null, null, null];
    this.write();
  }

  heard(snapshot) {
    this.#heard = { at: Date.parse(snapshot.at), ms: performance.now() };
    this.#why = null;
    const told = snapshot.ledger;
    this.#toldSince = told?.is_away ? Date.parse(told.since ?? snapshot.at) : null;
    this.write();
  }

  failed(why) {
    this.#why = why;
    this.write();
  }

  /** Whether the list in sight was read. */
  listed(isRead) {
    this.#listsSince = isRead ? null : (this.#listsSince ?? Date.now());
    this.write();
  }

  /** Another view has lists of its own. */
  turned() {
    this.#listsSince = null;
    this.write();
  }

  get isServiceAway() {
    return this.#heard !== null && !document.hidden && (this.#why !== null || performance.now() - this.#heard.ms > SILENT_MS);
  }

  /** Why there is no live data; null while there is. */
  get why() {
    return this.#why ?? (this.isServiceAway ? text('error_silent') : null);
  }

  get isLedgerAway() {
    return this.#ledgerSince !== null;
  }

  #look(changed) {
    const was = document.body.classList.contains('is-service-away');
    this.write();
    if (was !== this.isServiceAway) changed();
    this.#askReady();
  }

  /** By a timer of its own: snapshots come when they come. */
  async #askReady() {
    const now = performance.now();
    if (this.#asking || document.hidden || this.isServiceAway || (this.#asked !== null && now - this.#asked < ASK_READY_MS)) return;
    this.#asked = now;
    const askedAt = Date.now();
    const asking = (this.#asking = new AbortController());
    const late = setTimeout(() => asking.abort('late'), READY_MS);
    let isReady;
    try {
      const { status } = await fetch('../readyz', { cache: 'no-store', signal: asking.signal });
      // Behind a prefix there may be no such door.
      isReady = status !== 503;
    } catch {
      // A service that is away as a whole says nothing meanwhile: of that the stream tells.
      const isAlive = this.#heard?.ms > now;
      isReady = asking.signal.reason !== 'late' || !isAlive;
    }
    clearTimeout(late);
    this.#asking = null;
    // Signed out meanwhile.
    if (this.#timer === null) return;
    this.#readySince = isReady ? null : (this.#readySince ?? askedAt);
    this.write();
  }

  get #ledgerSince() {
    return this.#toldSince ?? this.#readySince;
  }

  write() {
    const [service, ledger] = [this.isServiceAway, this.isLedgerAway];
    const { classList } = document.body;
    classList.toggle('is-service-away', service);
    classList.toggle('is-ledger-away', ledger);
    classList.toggle('is-list-old', this.#listsSince !== null);
    const since = service ? this.#heard.at : (this.#ledgerSince ?? this.#listsSince);
    const words = service ? text('serviceAway', time(since), this.why) : ledger ? text('ledgerAwaySince', time(since)) : '';
    find('banner').hidden = words === '';
    // It is read aloud when it changes; the age beside it is not.
    write(find('banner-text'), words);
    const age = since === null ? '' : text('ago', duration(Math.max(Math.floor((Date.now() - since) / 1_000), 1) * 1_000));
    write(find('banner-age'), age);
    document.body.style.setProperty('--age', JSON.stringify(age));
  }
}
