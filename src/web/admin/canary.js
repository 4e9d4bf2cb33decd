// Runs of the canary: their times over time, and the steps of each.

import { get } from './api.js';
import { lines } from './charts.js';
import { find, make } from './dom.js';
import { table } from './tables.js';
import { duration, number, text, time } from './text.js';

const TIMES = [['answerMs', 'answer_ms'], ['frameMs', 'frame_ms'], ['pushMs', 'push_ms']];

let chart;

export async function showCanary() {
  const { every_s: every, runs } = await get('canary');
  find('canary-schedule').textContent = text('schedule', every);
  chart ??= lines(find('canary-chart'), 'canaryTimes', TIMES.map(([name]) => name));
  chart.rename();
  const inOrder = runs.toReversed();
  chart.set([inOrder.map((run) => Date.parse(run.started_at) / 1_000), ...TIMES.map(([, field]) => inOrder.map((run) => run[field]))]);
  const open = new Set([...document.querySelectorAll('#canary-runs details[open]')].map((details) => details.dataset.at));
  const shown = runs.map((run) => details(run, open.has(run.started_at)));
  find('canary-runs').replaceChildren(...(runs.length ? shown : [make('p', 'hint', text('noRuns'))]));
}

function details(run, isOpen) {
  const host = make('details', 'panel');
  host.open = isOpen;
  host.dataset.at = run.started_at;
  const summary = make('summary');
  const verdict = make('strong', run.ok ? 'is-good' : 'is-bad', text(run.ok ? 'allWell' : 'deviated'));
  summary.append(verdict, ` ${time(run.started_at)}, ${run.amount} ${run.currency}, ${duration(run.took_s * 1_000)}`);
  const steps = make('div', 'wide');
  steps.tabIndex = 0;
  table(steps, ['step', 'ms', 'seen'], run.steps.map((step) => [step.name, step.ms === null ? null : number(step.ms, 2), step.seen]));
  host.append(summary, ...run.deviations.map((deviation) => make('p', 'is-bad', deviation)), steps);
  return host;
}
