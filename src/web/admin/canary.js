// Runs of the canary: their times over time, and the steps of each.

import { get } from './api.js';
import { UNITS, canDraw, lines } from './charts.js';
import { find, make, put } from '../shared/dom.js';
import { field, table } from './tables.js';
import { duration, moment, number, text } from '../shared/text.js';

const TIMES = [['answerMs', 'answer_ms'], ['frameMs', 'frame_ms'], ['pushMs', 'push_ms']];

let chart;

/** Gives what writes them. */
export async function showCanary() {
  const { every_s: every, runs } = await get('canary');
  return () => {
    find('canary-schedule').textContent = text('schedule', every);
    if (canDraw()) draw(runs.toReversed());
    const open = new Set([...document.querySelectorAll('#canary-runs details[open]')].map((run) => run.dataset.at));
    put(find('canary-runs'), ...runs.map((run) => details(run, open.has(run.started_at))));
  };
}

function draw(inOrder) {
  chart ??= lines(find('canary-chart'), 'canaryTimes', TIMES.map(([name]) => name), { unit: UNITS.ms, empty: 'noRuns' });
  chart.rename();
  chart.set([inOrder.map((run) => Date.parse(run.started_at) / 1_000), ...TIMES.map(([, name]) => inOrder.map((run) => run[name]))]);
}

function details(run, isOpen) {
  const host = make('details', 'panel');
  host.open = isOpen;
  host.dataset.at = run.started_at;
  const summary = make('summary');
  const verdict = make('strong', run.ok ? 'is-good' : 'is-bad', text(run.ok ? 'allWell' : 'deviated'));
  const took = field('took_s', duration(run.took_s * 1_000));
  summary.append(verdict, ' ', moment(run.started_at), ', ', field('amount', run.amount), ' ', field('currency', run.currency), ', ', took);
  const steps = make('div', 'wide');
  steps.tabIndex = 0;
  steps.setAttribute('role', 'region');
  steps.setAttribute('aria-label', text('steps'));
  const row = ({ name, ms, seen }, index) => [name, ms === null ? null : field(`steps.${index}.ms`, number(ms, 2)), field(`steps.${index}.seen`, seen)];
  table(steps, ['step', 'ms', 'seen'], run.steps.map(row));
  host.append(summary, ...run.deviations.map((deviation) => make('p', 'is-bad', deviation)), steps);
  return host;
}
