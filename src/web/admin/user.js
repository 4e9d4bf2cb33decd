// One user: the actor's inside, what waits and for what, sessions, what happened lately, and orders. Asked for every second
// while it is looked at.

import { offer } from './actions.js';
import { get } from './api.js';
import { Rows } from './charts.js';
import { find, make } from './dom.js';
import { facts, table } from './tables.js';
import { duration, number, text, time } from './text.js';
import { ROWS, arrange } from './timeline.js';

const EVERY_MS = 1_000;
const COUNTDOWN_MS = 100;
const EVENTS = 200;
const ENTRIES = 20;

export class UserView {
  #userId = null;
  #isOpen = false;
  #timer;
  #timeline;
  #found = null;

  constructor() {
    find('find-user').addEventListener('submit', (event) => {
      event.preventDefault();
      const id = find('user-id').value;
      if (location.hash === `#user/${id}`) this.open(id);
      else location.hash = `#user/${id}`;
    });
    offer(() => this.#userId, () => this.#ask(false));
    setInterval(() => this.#countdown(), COUNTDOWN_MS);
  }

  open(id) {
    this.#isOpen = true;
    if (id && id !== this.#userId) {
      this.#found = null;
      find('user-found').hidden = true;
      find('order-outcome').textContent = '';
    }
    if (id) [this.#userId, find('user-id').value] = [id, id];
    if (this.#userId) this.#ask(find('activate').checked);
    else find('user-id').focus();
  }

  close() {
    this.#isOpen = false;
    clearTimeout(this.#timer);
  }

  forget() {
    this.close();
    [this.#userId, this.#found] = [null, null];
    find('user-found').hidden = true;
  }

  write() {
    this.#timeline?.rename();
    if (this.#found) this.#show();
  }

  async #ask(activate) {
    clearTimeout(this.#timer);
    const id = this.#userId;
    try {
      const asked = [get(`actors/${id}${activate ? '?activate=true' : ''}`), get(`events?user_id=${id}&limit=${EVENTS}`), get(`actors/${id}/entries?limit=${ENTRIES}`)];
      // An actor that is not in memory has a past all the same.
      const [actor, happened, history] = await Promise.allSettled(asked);
      if (id !== this.#userId || !this.#isOpen) return;
      if (happened.status === 'rejected') throw happened.reason;
      // Nor may a ledger that is away hide what memory knows.
      const entries = history.value?.entries ?? null;
      const isAbsent = actor.status === 'rejected' && actor.reason.status === 404;
      if (actor.status === 'rejected' && !isAbsent) throw actor.reason;
      this.#found = { actor: actor.value ?? null, events: happened.value.events, entries, at: performance.now() };
      find('user-error').textContent = isAbsent ? text('not_resident') : '';
      this.#show();
    } catch (error) {
      if (id === this.#userId) find('user-error').textContent = error.message;
    }
    if (this.#isOpen && id === this.#userId) this.#again();
  }

  #again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? this.#again() : this.#ask(false)), EVERY_MS);
  }

  #show() {
    const { actor, events, entries } = this.#found;
    find('user-found').hidden = false;
    this.#timeline ??= new Rows(find('timeline'), 'timeline', ROWS);
    const { points, links } = arrange(events);
    this.#timeline.fill(points, links, ROWS);
    inside(actor);
    pending(actor?.pending);
    this.#countdown();
    sessions(actor?.sessions ?? []);
    lastEntries(entries);
    happenings(events);
  }

  #countdown() {
    const place = find('countdown');
    if (!this.#isOpen || !place || !this.#found?.actor?.pending) return;
    const { next_push_in_ms: left } = this.#found.actor.pending;
    place.textContent = left === null ? text('noTime') : duration(Math.max(left - (performance.now() - this.#found.at), 0));
  }
}

function inside(actor) {
  if (!actor) return find('inside').replaceChildren(make('p', 'hint', text('not_resident')));
  const rows = [
    ['observedAt', time(actor.observed_at)],
    ['version', actor.version, 'version'],
    ...Object.entries(actor.balances ?? {}).map(([currency, amount]) => [currency, amount, `balance.${currency}`]),
    ['verifiedAt', actor.verified_at && `${time(actor.verified_at)} (${duration(actor.age_ms)})`],
    ['lastPush', actor.last_push_at && time(actor.last_push_at)],
    ['inFlight', actor.in_flight],
    ['mailbox', `${actor.mailbox.queued} / ${actor.mailbox.capacity}`],
    ['entries', number(actor.counters.entries)],
  ];
  if (actor.stale) rows.unshift(['stale', make('strong', 'is-bad', '!')]);
  if (actor.counters.is_stale) rows.push(['isStale', make('strong', 'is-bad', '!')]);
  facts(find('inside'), rows);
}

function pending(waiting) {
  const host = find('pending');
  if (!waiting) return host.replaceChildren(make('p', 'hint', text('nothingWaits')));
  const countdown = make('p', 'countdown');
  countdown.id = 'countdown';
  const more = make('div');
  facts(more, [
    ['waitsFor', waiting.waits_for && text(waiting.waits_for), 'waits_for'],
    ['heldBy', waiting.held_by && text(waiting.held_by)],
    ['mode', waiting.mode && text(waiting.mode)],
    ['entries', waiting.entries, 'pending.entries'],
    ['first', time(waiting.first)],
    ['last', time(waiting.last)],
  ]);
  host.replaceChildren(make('p', 'hint', text('nextPush')), countdown, more);
}

function sessions(all) {
  const rows = all.map((one) => [
    one.id, time(one.connected_at), one.last_version, one.displayed_version, one.address, one.user_agent, one.is_lagging ? '!' : '–',
  ]);
  table(find('user-sessions'), ['session', 'connectedAt', 'sent', 'displayed', 'address', 'agent', 'lagging'], rows);
}

function lastEntries(entries) {
  const rows = (entries ?? []).map((entry) => [
    entry.version, time(entry.committed_at), text(entry.kind), `${entry.amount} ${entry.currency}`, entry.balance_after, entry.source, entry.event_id,
  ]);
  table(find('user-entries'), ['version', 'at', 'kind', 'amount', 'balanceAfter', 'source', 'eventId'], rows, entries ? 'none' : 'ledgerAway');
}

function happenings(events) {
  const rows = events.map((event) => [time(event.at), text(event.what), event.version, detail(event)]);
  table(find('happenings'), ['at', 'what', 'version', 'detail'], rows);
}

function detail(event) {
  if (event.what === 'entry') return `${text(event.kind)} ${event.amount} ${event.currency} (${event.source})`;
  if (event.what === 'push') return `${text(event.mode)}, ${duration(event.waited_ms)}, ${text('entries')}: ${event.entries}, ${text('sessions')}: ${event.sessions}`;
  return `${text(event.mode)}, ${duration(event.took_ms)}, ${event.session_id}`;
}
