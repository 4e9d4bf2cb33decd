// The overview: tiles, charts over the last minutes, and tables; all of it from the snapshots of the live stream.

import { UNITS, canDraw, lines } from './charts.js';
import { find, make, put } from '../shared/dom.js';
import { writeFindings } from './findings.js';
import { HeatMap } from './heatmap.js';
import { Nodes } from './nodes.js';
import { both, quantile } from './series.js';
import { Stretch } from './stretch.js';
import { facts, field, table } from './tables.js';
import { clock, duration, moment, number, text } from '../shared/text.js';

const KINDS = ['deposit', 'reward', 'withdrawal', 'adjustment', 'reversal'];
/** Where errors are counted; sessions end for good reasons, too. */
const FAILURES = ['webhook_rejected', 'ws_rejected', 'ledger'];
const LATELY_S = 60;
/** Marks that are also told in words. */
const MARKS_TOLD = 6;
const GROUP = 'overview';
const LEDGERS = new Set(['entriesPerS', 'commitP99', 'displayedP99', 'drift', 'latestCanary']);

const accepted = (kind) => (snapshot) => snapshot.counters.entries[kind]?.accepted;
const allAccepted = (snapshot) => KINDS.reduce((sum, kind) => sum + (accepted(kind)(snapshot) ?? 0), 0);
const allPushes = ({ registry }) => registry.pushes_direct + registry.pushes_paced;
const failures = (where) => ({ counters }) => Object.values(counters.errors[where]).reduce((sum, count) => sum + count, 0);
const allFailures = (snapshot) => FAILURES.reduce((sum, where) => sum + failures(where)(snapshot), 0);
const commit = ({ counters }) => counters.commit;
const toPush = ({ counters }) => both(counters.commit_to_push);
const displayed = ({ counters }) => both(counters.commit_to_displayed);

/** In the place of the charts. */
export function tellNoCharts() {
  const words = make('p', 'hint', text('noCharts'));
  words.dataset.text = 'noCharts';
  find('charts').replaceChildren(words);
}

export class Overview {
  #charts = null; // until they can be drawn
  #isBroken = false;
  #series = null;
  #stretch = new Stretch();
  #nodes = new Nodes();

  constructor() {
    const stretch = this.#stretch;
    stretch.changed = () => this.#redraw();
    for (const button of document.querySelectorAll('[data-range]')) {
      button.addEventListener('click', () => {
        stretch.span_s = Number(button.dataset.range);
        stretch.choose(null);
      });
    }
    find('range-earlier').addEventListener('click', () => stretch.move(-1));
    find('range-later').addEventListener('click', () => stretch.move(1));
    find('range-now').addEventListener('click', () => stretch.choose(null));
  }

  #redraw() {
    const { isChosen, span_s: span, shown } = this.#stretch;
    for (const button of document.querySelectorAll('[data-range]')) {
      button.setAttribute('aria-pressed', String(!isChosen && Number(button.dataset.range) === span));
    }
    find('range-now').disabled = find('range-later').disabled = !isChosen;
    if (!this.#series?.latest) return;
    const marks = this.#series.marks.filter(({ at_s }) => at_s >= shown[0] && at_s <= shown[1]);
    const words = ({ at_s, what }) => text('mark', clock(at_s), text(`mark_${what}`));
    find('marks').textContent = marks.slice(-MARKS_TOLD).map(words).join(' · ');
    if (this.#charts) this.#drawn(() => this.#draw(this.#series, this.#series.latest));
  }

  /** What fails in a chart ends the charts, and nothing else. */
  #drawn(draw) {
    try {
      draw();
    } catch (error) {
      console.warn(error);
      [this.#charts, this.#isBroken] = [null, true];
      tellNoCharts();
    }
  }

  /** Takes snapshots in, of which nodes there were. */
  remember(snapshots) {
    this.#nodes.remember(snapshots);
  }

  #make() {
    const host = find('charts');
    const stretch = this.#stretch;
    const times = (empty) => ({ unit: UNITS.seconds, empty, group: GROUP, stretch, isLedgers: true });
    this.#charts = {
      entries: lines(host, 'entriesPerS', KINDS, { group: GROUP, stretch, isLedgers: true }),
      pushes: lines(host, 'pushesPerS', ['direct', 'paced'], { group: GROUP, stretch }),
      commit: lines(host, 'commitTime', ['p50', 'p99'], times('nothingCommitted')),
      heatCommit: new HeatMap(host, 'heatCommit', 'nothingCommitted', GROUP, stretch),
      displayed: lines(host, 'displayedTime', ['p50', 'p99'], times('nothingDisplayed')),
      heatDisplayed: new HeatMap(host, 'heatDisplayed', 'nothingDisplayed', GROUP, stretch),
      toPush: lines(host, 'pushTime', ['p50', 'p99'], times('nothingPushed')),
      failures: lines(host, 'errorsPerS', FAILURES, { group: GROUP, stretch }),
      queues: lines(host, 'queueDepth', ['single', 'bulk'], { group: GROUP, stretch }),
      presence: lines(host, 'presence', ['sessions', 'actors'], { group: GROUP, stretch }),
    };
  }

  rename() {
    Object.values(this.#charts ?? {}).forEach((chart) => chart.rename());
  }

  show(series) {
    const now = series.latest;
    if (!now) return;
    // What stands here is this snapshot's.
    find('view-overview').dataset.at = now.at;
    writeFindings(now);
    tiles(series, now);
    this.#nodes.write(now);
    if (!this.#charts && !this.#isBroken && canDraw()) this.#drawn(() => this.#make());
    this.#series = series;
    this.#stretch.goesOn(now.at_s);
    this.#stretch.marks = series.marks;
    this.#redraw();
    lastEntries(now);
    errors(series, now);
    audit(now.audit);
  }

  #draw(series, now) {
    const times = series.times;
    const charts = this.#charts;
    charts.entries.set([times, ...KINDS.map((kind) => series.rate(accepted(kind)))]);
    charts.pushes.set([times, series.rate((s) => s.registry.pushes_direct), series.rate((s) => s.registry.pushes_paced)]);
    charts.failures.set([times, ...FAILURES.map((where) => series.rate(failures(where)))]);
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

function tiles(series, { registry, counters, audit, canary }) {
  const rate = (pick) => {
    const value = series.rate(pick).at(-1) ?? null;
    return value === null ? null : number(value, 1);
  };
  const p99 = (pick) => {
    const found = quantile(0.99, series.bucketsLately(pick, LATELY_S), pick(series.latest).le_s);
    return duration(found === null ? null : found * 1_000);
  };
  const known = (path, value) => field(path, number(value));
  const failed = series.growthLately(allFailures, LATELY_S);
  put(
    find('tiles'),
    tile('entriesPerS', rate(allAccepted)),
    tile('pushesPerS', rate(allPushes)),
    tile('commitP99', p99(commit)),
    tile('displayedP99', p99(displayed)),
    tile('errorsLately', failed === null ? null : number(failed), null, failed > 0 ? 'is-bad' : ''),
    tile('drift', known('counters.drift', counters.drift), audit.users_per_s === 0 ? text('off') : null, counters.drift > 0 ? 'is-bad' : 'is-good'),
    tile('sessionsOpen', known('registry.sessions', registry.sessions), filled('ofLimit', known('counters.sessions_limit', counters.sessions_limit)), isNearly(registry.sessions, counters.sessions_limit)),
    actorsTile(registry, known),
    tile('hitRatio', field('registry.cache_hit_ratio', percent(registry.cache_hit_ratio)), hitsLately(series)),
    tile('queues', pair(known('registry.queue_single', registry.queue_single), known('registry.queue_bulk', registry.queue_bulk)), text('singleBulk')),
    canaryTile(canary),
    tile('uptime', field('registry.uptime_s', duration(registry.uptime_s * 1_000))),
  );
}

const percent = (part) => `${number(part * 100, 1)}\u00a0%`;
/** From nine tenths of a limit on it is a matter for somebody. */
const isNearly = (count, limit) => (count >= 0.9 * limit ? 'is-bad' : '');

function actorsTile(registry, known) {
  const more = filled('withSessions', known('registry.actors_with_sessions', registry.actors_with_sessions));
  const rebuilt = filled('rebuilt', known('registry.actors_rebuilt', registry.actors_rebuilt));
  rebuilt.className = 'is-bad';
  // Anything but 0 is a bug, and 0 tells nothing.
  if (registry.actors_rebuilt > 0) more.append(', ', rebuilt);
  return tile('actors', known('registry.actors', registry.actors), more);
}

function hitsLately(series) {
  const [hits, misses] = ['cache_hits', 'cache_misses'].map((name) => series.growthLately(({ registry }) => registry[name], LATELY_S));
  return text('hitsLately', hits + misses > 0 ? percent(hits / (hits + misses)) : '–');
}

function canaryTile({ every_s: every, latest }) {
  if (!latest) return tile('latestCanary', text(every === 0 ? 'notScheduled' : 'notYet'), null, 'is-word');
  return tile('latestCanary', text(latest.ok ? 'allWell' : 'deviated'), moment(latest.started_at), `is-word ${latest.ok ? 'is-good' : 'is-bad'}`);
}

/** A text around an element. */
function filled(key, element) {
  const gap = '\u0000';
  const [before, after] = text(key, gap).split(gap);
  const whole = make('span');
  whole.append(before, element, after);
  return whole;
}

function pair(one, other) {
  const whole = make('span');
  whole.append(one, ' / ', other);
  return whole;
}

function tile(name, value, more = null, className = '') {
  // What only the ledger can tell is old while it is away.
  const element = make('div', LEDGERS.has(name) ? 'tile is-ledgers' : 'tile');
  element.dataset.tile = name;
  const figure = make('p', className);
  figure.append(value ?? '–');
  const below = make('small');
  below.append(more ?? '\u00a0');
  element.append(make('h2', '', text(name)), figure, below);
  return element;
}

function lastEntries({ at, counters }) {
  const now = Date.parse(at);
  const kinds = [...new Set([...KINDS, ...Object.keys(counters.entries)])];
  const rows = kinds.map((kind) => {
    const seconds = counters.last_entry_at_s[kind];
    const when = seconds === undefined ? null : new Date(seconds * 1_000);
    const counts = ['accepted', 'duplicate', 'rejected'].map((outcome) => [outcome, counters.entries[kind]?.[outcome] ?? 0]);
    return [
      text(kind),
      when && field(`counters.last_entry_at_s.${kind}`, moment(when.toISOString())),
      duration(when && Math.max(now - when, 0)),
      ...counts.map(([outcome, count]) => field(`counters.entries.${kind}.${outcome}`, number(count))),
    ];
  });
  table(find('last-entries'), ['kind', 'at', 'silentFor', 'accepted', 'duplicate', 'rejected'], rows);
}

function errors(series, { counters }) {
  const rows = Object.entries(counters.errors).flatMap(([where, codes]) =>
    Object.entries(codes).map(([code, count]) => {
      const lately = series.growthLately((snapshot) => snapshot.counters.errors[where][code], LATELY_S);
      return [text(where), code, field(`counters.errors.${where}.${code}`, number(count)), lately === null ? null : number(lately)];
    }),
  );
  table(find('errors'), ['where', 'code', 'sinceStart', 'lately'], rows, 'noErrors');
}

/** A round that takes less than a minute is none to watch. */
const hasRounds = ({ users_per_s: pace, round, users_total: users }) => users / Math.max(round, 1) >= 60 * pace && pace > 0;

function audit(state) {
  const count = (name) => field(`audit.${name}`, number(state[name]));
  const told = (when, words) => {
    const whole = make('span');
    whole.append(moment(when), `: ${words}`);
    return whole;
  };
  facts(find('audit'), [
    ['pace', state.users_per_s === 0 ? text('off') : count('users_per_s')],
    // On a ledger of few users, rounds say nothing but how often they are looked at again.
    ...(hasRounds(state) ? [['round', count('round')], ['roundUsers', count('round_users')]] : []),
    ['usersTotal', count('users_total')],
    ['violationsTotal', count('violations_total')],
    ['lastError', state.last_error && told(state.last_error.at, state.last_error.reason)],
    ...state.violations.map(({ at, violation }) => ['violation', told(at, violation)]),
  ]);
}
