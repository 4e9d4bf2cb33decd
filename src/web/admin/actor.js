// How one actor and what happened to its user are written. Figures carry their paths: `actor.…` and `events.…` as the stream
// tells them, `entries.…` as the ledger does.

import { entryLink } from './find.js';
import { find, make, put } from '../shared/dom.js';
import { facts, field, table } from './tables.js';
import { countdown, duration, moment, number, text } from '../shared/text.js';

const count = (path, value) => field(path, value === null ? null : number(value));
const when = (path, value) => field(path, moment(value));
const joined = (...parts) => {
  const whole = make('span');
  whole.append(...parts);
  return whole;
};

/** `isElsewhere`: another node has it in memory. */
export function writeInside(actor, isElsewhere) {
  if (!actor) return put(find('inside'), make('p', 'hint', text(isElsewhere ? 'elsewhereOnly' : 'notInMemory')));
  const { counters, mailbox } = actor;
  const balances = Object.entries(actor.balances ?? {});
  const age = actor.age_ms === null ? [] : [` (${text('ago', duration(actor.age_ms))})`];
  const table = make('div');
  facts(table, [
    ...balances.map(([currency, amount]) => [currency, field(`actor.balances.${currency}`, amount, 'amount')]),
    ['version', field('actor.version', actor.version)],
    ['verifiedAt', joined(when('actor.verified_at', actor.verified_at), ...age)],
    ['lastPush', when('actor.last_push_at', actor.last_push_at)],
    ['sessionsAttached', count('actor.sessions_attached', actor.sessions_attached)],
    ['entriesThrough', count('actor.counters.entries', counters.entries)],
    ['inFlight', count('actor.in_flight', actor.in_flight)],
    ['waiters', count('actor.counters.version_waiters', counters.version_waiters)],
    ['mailbox', joined(count('actor.mailbox.queued', mailbox.queued), ' ', text('mailboxOf', number(mailbox.capacity)))],
    ['observedAt', moment(actor.observed_at)],
  ]);
  const warnings = [actor.stale && 'stale', counters.is_stale && 'isStale'].filter(Boolean);
  put(find('inside'), ...warnings.map((name) => make('p', 'is-bad', text(name))), table);
}

/** What waits to be pushed, why and until when; the time that is left is written by `writeCountdown`. */
export function writePending(waiting) {
  const host = find('pending');
  if (!waiting) return put(host, make('p', 'hint', text('nothingWaits')));
  const more = make('div');
  facts(more, [
    ['waitsFor', waiting.waits_for && field('actor.pending.waits_for', text(waiting.waits_for))],
    ['heldBy', waiting.held_by && field('actor.pending.held_by', text(waiting.held_by))],
    ['nextPushAt', when('actor.pending.next_push_at', waiting.next_push_at)],
    ['mode', waiting.mode && field('actor.pending.mode', text(waiting.mode))],
    ['entries', count('actor.pending.entries', waiting.entries)],
    ['first', when('actor.pending.first', waiting.first)],
    ['last', when('actor.pending.last', waiting.last)],
  ].filter(([, value]) => value));
  const left = make('p', 'countdown', find('countdown')?.textContent ?? '');
  left.id = 'countdown';
  put(host, make('p', 'hint', text('nextPush')), left, more);
}

/** Writes how long it is until the push, `passed_ms` after it was told. */
export function writeCountdown(waiting, passed_ms) {
  const place = find('countdown');
  if (!place || !waiting) return;
  const { next_push_in_ms: left } = waiting;
  const words = left === null ? text('noTime') : countdown(Math.max(left - passed_ms, 0));
  if (place.textContent !== words) place.textContent = words;
}

/** Sessions at this node, and with `elsewhere`, a list of nodes, those at others. */
export function writeSessions(sessions, elsewhere) {
  const rows = sessions.map((one, index) => session(one, `actor.sessions.${index}`));
  const heads = ['session', 'connectedAt', 'sent', 'displayed', 'lagging', 'address', 'agent'];
  if (!elsewhere) return table(find('user-sessions'), heads, rows, 'noSessions');
  const there = elsewhere.flatMap(({ node, sessions: all }, at) => all.map((one, index) => [node, ...session(one, `nodes.${at + 1}.sessions.${index}`)]));
  table(find('user-sessions'), ['node', ...heads], [...rows.map((row) => [text('thisNode'), ...row]), ...there], 'noSessions');
}

function session(one, path) {
  const of = (name) => `${path}.${name}`;
  return [
    field(of('id'), one.id), when(of('connected_at'), one.connected_at), field(of('last_version'), one.last_version),
    field(of('displayed_version'), one.displayed_version),
    joined(make('span', one.is_lagging ? 'is-bad' : '', text(one.is_lagging ? 'yes' : 'no'))), field(of('address'), one.address), field(of('user_agent'), one.user_agent),
  ];
}

/** `null` when the ledger does not answer. */
export function writeEntries(entries) {
  const rows = (entries ?? []).map((entry, index) => {
    const of = (name) => `entries.${index}.${name}`;
    const amount = joined(field(of('amount'), entry.amount), ' ', field(of('currency'), entry.currency));
    return [
      field(of('version'), entry.version), when(of('committed_at'), entry.committed_at), kind(entry, of), amount,
      field(of('balance_after'), entry.balance_after), field(of('source'), entry.source), field(of('event_id'), entryLink(entry.event_id)),
    ];
  });
  table(find('user-entries'), ['version', 'at', 'kind', 'amount', 'balanceAfter', 'source', 'eventId'], rows, entries ? 'noEntries' : 'ledgerAway');
}

function kind(entry, of) {
  const known = field(of('kind'), text(entry.kind));
  return entry.reverses ? joined(known, ' ', field(of('reverses'), entryLink(entry.reverses))) : known;
}

export function writeHappenings(events) {
  const rows = events.map((event, index) => {
    const of = (name) => `events.${index}.${name}`;
    return [when(of('at'), event.at), field(of('what'), text(event.what === 'displayed' ? 'shown' : event.what)), field(of('version'), event.version), detail(event)];
  });
  table(find('happenings'), ['at', 'what', 'version', 'detail'], rows, 'noHappenings');
}

/** The same of an event beside whose kind it stands, with a way to its entry. */
export function eventDetail(event) {
  if (event.what !== 'entry') return detail(event);
  return joined(`${event.amount} ${event.currency}, ${event.source}, `, entryLink(event.event_id));
}

function detail(event) {
  if (event.what === 'entry') return text('entryDetail', text(event.kind), `${event.amount} ${event.currency}`, event.source);
  if (event.what === 'push') return text('pushDetail', text(event.mode), duration(event.waited_ms), number(event.entries), number(event.sessions));
  return text('shownDetail', text(event.mode), duration(event.took_ms), event.session_id);
}
