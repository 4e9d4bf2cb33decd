// The overview: tiles, charts over the last minutes, and tables; all of it from the snapshots of the live stream.

import { HeatMap, lines } from './charts.js';
import { find, make } from './dom.js';
import { both, quantile } from './series.js';
import { facts, table } from './tables.js';
import { duration, number, text, time } from './text.js';

const KINDS = ['deposit', 'reward', 'withdrawal', 'adjustment'];
const LATELY_S = 60;

const accepted = (kind) => (snapshot) => snapshot.counters.entries[kind]?.accepted;
const allAccepted = (snapshot) => KINDS.reduce((sum, kind) => sum + (accepted(kind)(snapshot) ?? 0), 0);
const allPushes = ({ registry }) => registry.pushes_direct + registry.pushes_paced;
const commit = ({ counters }) => counters.commit;
const toPush = ({ counters }) => both(counters.commit_to_push);
const displayed = ({ counters }) => both(counters.commit_to_displayed);

export class Overview {
  #charts;

  constructor() {
    const host = find('charts');
    this.#charts = {
      entries: lines(host, 'entriesPerS', KINDS),
      pushes: lines(host, 'pushesPerS', ['direct', 'paced']),
      commit: lines(host, 'commitTime', ['p50', 'p99']),
      toPush: lines(host, 'pushTime', ['p50', 'p99']),
      displayed: lines(host, 'displayedTime', ['p50', 'p99']),
      heatCommit: new HeatMap(host, 'heatCommit'),
      heatDisplayed: new HeatMap(host, 'heatDisplayed'),
      queues: lines(host, 'queueDepth', ['single', 'bulk']),
      presence: lines(host, 'presence', ['sessions', 'actors']),
    };
  }

  rename() {
    Object.values(this.#charts).forEach((chart) => chart.rename());
  }

  show(series) {
    const now = series.latest;
    if (!now) return;
    this.#tiles(series, now);
    this.#draw(series, now);
    tables(now);
  }

  #tiles(series, { registry, counters, canary }) {
    const latest = (pick) => series.rate(pick).at(-1) ?? null;
    const p99 = (pick) => {
      const found = quantile(0.99, series.bucketsLately(pick, LATELY_S), pick(series.latest).le_s);
      return duration(found === null ? null : found * 1_000);
    };
    const rate = (value) => (value === null ? '–' : number(value, 1));
    const rows = [
      ['entriesPerS', rate(latest(allAccepted))],
      ['pushesPerS', rate(latest(allPushes))],
      ['sessionsOpen', number(registry.sessions), text('ofLimit', number(counters.sessions_limit)), 'sessions'],
      ['actors', number(registry.actors), text('withSessions', number(registry.actors_with_sessions)), 'actors'],
      ['hitRatio', `${number(registry.cache_hit_ratio * 100, 1)} %`, '', 'cache_hit_ratio'],
      ['queues', `${number(registry.queue_single)} / ${number(registry.queue_bulk)}`, text('singleBulk')],
      ['commitP99', p99(commit)],
      ['displayedP99', p99(displayed)],
      ['drift', number(counters.drift), '', '', counters.drift > 0 ? 'is-bad' : 'is-good'],
      ['uptime', duration(registry.uptime_s * 1_000)],
    ];
    if (canary.latest) {
      rows.push(['latestCanary', text(canary.latest.ok ? 'allWell' : 'deviated'), time(canary.latest.started_at), '', canary.latest.ok ? 'is-good' : 'is-bad']);
    }
    find('tiles').replaceChildren(...rows.map((row) => tile(...row)));
  }

  #draw(series, now) {
    const times = series.times;
    const charts = this.#charts;
    charts.entries.set([times, ...KINDS.map((kind) => series.rate(accepted(kind)))]);
    charts.pushes.set([times, series.rate((s) => s.registry.pushes_direct), series.rate((s) => s.registry.pushes_paced)]);
    charts.queues.set([times, series.level((s) => s.registry.queue_single), series.level((s) => s.registry.queue_bulk)]);
    charts.presence.set([times, series.level((s) => s.registry.sessions), series.level((s) => s.registry.actors)]);
    for (const [name, pick, heat] of [['commit', commit, 'heatCommit'], ['toPush', toPush], ['displayed', displayed, 'heatDisplayed']]) {
      const bounds = pick(now).le_s;
      const cells = series.buckets(pick);
      charts[name].set([times, ...[0.5, 0.99].map((part) => cells.map((counts) => quantile(part, counts, bounds)))]);
      if (heat) charts[heat].fill(times, bounds, cells);
    }
  }
}

function tile(name, value, more, field, className) {
  const element = make('div', 'tile');
  const figure = make('p', className, value);
  if (field) figure.dataset.field = field;
  element.append(make('h2', '', text(name)), figure);
  if (more) element.append(make('small', '', more));
  return element;
}

function tables({ at, counters, audit }) {
  const now = Date.parse(at);
  const last = counters.last_entry_at_s;
  const kinds = [...new Set([...KINDS, ...Object.keys(counters.entries)])];
  table(find('last-entries'), ['kind', 'at', 'silentFor', 'accepted', 'rejected'], kinds.map((kind) => {
    const when = last[kind] === undefined ? null : last[kind] * 1_000;
    const { accepted: taken = 0, rejected = 0 } = counters.entries[kind] ?? {};
    return [text(kind), time(when), duration(when === null ? null : Math.max(now - when, 0)), number(taken), number(rejected)];
  }));
  const errors = Object.entries(counters.errors).flatMap(([where, codes]) =>
    Object.entries(codes).map(([code, count]) => [text(where), code, number(count)]),
  );
  table(find('errors'), ['where', 'code', 'count'], errors);
  facts(find('audit'), [
    ['pace', audit.users_per_s === 0 ? text('off') : number(audit.users_per_s)],
    ['round', number(audit.round), 'audit.round'],
    ['roundUsers', number(audit.round_users)],
    ['usersTotal', number(audit.users_total)],
    ['violationsTotal', number(audit.violations_total), 'audit.violations_total'],
    ['lastError', audit.last_error && `${time(audit.last_error.at)}: ${audit.last_error.reason}`],
    ...audit.violations.map(({ at: when, violation }) => ['violation', `${time(when)}: ${violation}`]),
  ]);
}
