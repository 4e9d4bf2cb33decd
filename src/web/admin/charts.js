// Charts by uPlot: lines over time, and points on rows. Colours are asked for at each drawing, so that a change of the
// scheme is one more drawing. Beside each line stands its latest value, or the one that is pointed at.

import { colour, make } from '../shared/dom.js';
import { alone } from './series.js';
import { clock, duration, locale, number, text } from '../shared/text.js';

const HEIGHT = 180;
const COLOURS = 5;
/** The least width of a chart, in seconds. */
const LEAST_S = 60;
/** What may lie between two times on the axis, in seconds. */
const STEPS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400];
const charts = new Set();
let uPlot = null;
let resized = null;

/** Loads what draws. Nothing else of the dashboard waits for it, nor fails with it. */
export async function load() {
  // uPlot takes the browser's language as a language tag, which it need not be (`en-US@posix`).
  try {
    Intl.getCanonicalLocales(navigator.language);
  } catch {
    Object.defineProperty(navigator, 'language', { value: locale(), configurable: true });
  }
  // Later, since a chart of another size may change what is observed.
  resized = new ResizeObserver((entries) => {
    requestAnimationFrame(() => entries.forEach(({ target }) => fit(target)));
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.forEach((chart) => chart.redraw(false)));
  uPlot = (await import('./vendor/uplot.js')).default;
}

/** Whether charts can be made now. */
export const canDraw = () => uPlot !== null;

/** A chart in a view that is hidden has no width, and keeps the one that it had. */
function fit(body) {
  const width = body.clientWidth;
  if (width > 0 && body.chart.width !== width) body.chart.setSize({ width, height: HEIGHT });
}

const MARK_COLOURS = { started: 'accent', ledger_away: 'bad', ledger_back: 'good', violation: 'bad' };

function drawMarks(plot, marks) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const { at_s, what } of marks) {
    const x = plot.valToPos(at_s, 'x', true);
    if (!(x >= left && x <= left + width)) continue;
    ctx.strokeStyle = colour(MARK_COLOURS[what] ?? 'hint');
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
  }
  ctx.restore();
}

/** How the values of a chart are written, and the least that its height is. */
export const UNITS = {
  count: { write: (value) => number(value, value < 10 ? 2 : 0), least: 1 },
  seconds: { write: (value) => duration(value * 1_000), least: 0.01 },
  ms: { write: duration, least: 10 },
};

// Not uPlot's own: they know English alone.
export const TIME = { label: '', value: (plot, at, _, index) => written((time) => clock(time), index === null ? plot.data[0].at(-1) : at) };
const written = (write, value) => (value === null || value === undefined ? '–' : write(value));

export const timeAxis = () => axis({ space: 80, incrs: STEPS_S, values: (_, splits, __, ___, step) => splits.map((at) => clock(at, step < 1)) });

export const axis = (more = {}) => ({
  stroke: () => colour('hint'),
  grid: { stroke: () => colour('line'), width: 1 },
  ticks: { stroke: () => colour('line'), width: 1 },
  font: '12px system-ui, sans-serif',
  ...more,
});

/** Builds a chart in a panel of its own; it is written again, with the words of another language, by `rename`. */
export class Chart {
  #title;
  #names;
  #empty;
  #isEnlarged = false;
  #stretch;
  #note = make('p', 'hint chart-note');

  constructor(host, title, names, { empty = 'nothingYet', group, stretch = null, isLedgers = false, ...options }) {
    [this.#title, this.#names, this.#empty] = [title, names, empty];
    this.#stretch = stretch;
    const panel = make('section', isLedgers ? 'chart is-ledgers' : 'chart');
    this.heading = make('h2', '', text(title));
    this.body = make('div', 'chart-body');
    panel.append(this.heading, this.body, this.#note);
    host.append(panel);
    const base = {
      width: Math.max(this.body.clientWidth, 160),
      height: HEIGHT,
      axes: [timeAxis(), axis({ size: 62 })],
      cursor: {
        // What is pointed at in one is pointed at in all of a group.
        sync: group ? { key: group, setSeries: false } : undefined,
        bind: { dblclick: (_, __, reset) => (event) => this.#reset(event, reset) },
      },
    };
    const own = (_, from, to) => [this.#isEnlarged || to === null ? from : Math.min(from, to - LEAST_S), to];
    const scales = { x: { range: stretch ? () => stretch.shown : own }, ...options.scales };
    const hooks = { ...options.hooks, setSelect: [(plot) => this.#select(plot)] };
    if (stretch) hooks.draw = [...(options.hooks?.draw ?? []), (plot) => drawMarks(plot, stretch.marks)];
    this.plot = new uPlot({ ...base, ...options, scales, hooks }, [[], ...options.series.slice(1).map(() => [])], this.body);
    this.body.chart = this.plot;
    this.body.querySelector('.u-wrap').setAttribute('role', 'img');
    resized.observe(this.body);
    charts.add(this.plot);
    this.rename();
  }

  set(data) {
    fit(this.body);
    if (this.#stretch) {
      this.plot.setData(data);
      return this.#noteEmpty(data);
    }
    const { min, max } = this.plot.scales.x;
    this.plot.setData(data, !this.#isEnlarged);
    // What was enlarged stays in sight while time goes on.
    if (this.#isEnlarged) this.plot.setScale('x', { min, max });
    this.#noteEmpty(data);
  }

  #reset(event, reset) {
    this.#isEnlarged = false;
    if (this.#stretch) this.#stretch.choose(null);
    else reset(event);
  }

  #select(plot) {
    const { left, width } = plot.select;
    if (width <= 0) return;
    this.#isEnlarged = true;
    this.#stretch?.choose(plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x'));
  }

  #noteEmpty(data) {
    const isEmpty = !data.slice(1).some((values) => values.some((value) => value !== null && value !== undefined));
    this.note(isEmpty ? text(this.#empty) : '');
  }

  /** A line over an empty chart, or none. */
  note(words) {
    this.#note.textContent = words;
  }

  rename() {
    this.heading.textContent = text(this.#title);
    this.body.querySelector('.u-wrap').setAttribute('aria-label', text(this.#title));
    const labels = this.body.querySelectorAll('.u-legend .u-label');
    ['at', ...this.#names].forEach((name, index) => labels[index] && (labels[index].textContent = text(name)));
    this.plot.redraw(false, true);
  }
}

export function lines(host, title, names, { unit: { write, least } = UNITS.count, ...more } = {}) {
  const series = names.map((name, index) => ({
    label: text(name),
    stroke: () => colour(`series-${(index % COLOURS) + 1}`),
    width: 2,
    points: { size: 5, filter: (plot, row, areAllShown) => (areAllShown ? null : alone(plot.data[row])) },
    value: (plot, value, row, at) => written(write, at === null ? plot.data[row].at(-1) : value),
  }));
  const scales = { y: { range: (_, __, most) => [0, Math.max(most ?? 0, least) * 1.1] } };
  const axes = [timeAxis(), axis({ size: 66, values: (_, splits) => splits.map((value) => (value === 0 ? '0' : write(value))) })];
  return new Chart(host, title, names, { series: [TIME, ...series], scales, axes, ...more });
}

/** Points on named rows, the first on top; `links` are pairs of `[time, row]`. */
export class Rows extends Chart {
  #state;

  constructor(host, title, names, empty) {
    const state = { links: [] };
    const series = names.map((name, index) => ({
      label: text(name),
      stroke: () => colour(`series-${index + 1}`),
      paths: () => null,
      points: { show: true, size: 8, fill: () => colour(`series-${index + 1}`) },
    }));
    const row = (index) => names.length - index;
    super(host, title, names, {
      empty,
      series: [TIME, ...series],
      scales: { y: { range: () => [0.5, names.length + 0.5] } },
      axes: [timeAxis(), axis({ size: 90, splits: () => names.map((_, index) => row(index)), values: () => names.map((name) => text(name)) })],
      legend: { show: false },
      hooks: { drawAxes: [(plot) => link(plot, state.links, row)] },
    });
    this.#state = state;
  }

  fill(points, links) {
    this.#state.links = links;
    const times = [...new Set(points.map(([at]) => at))].sort((a, b) => a - b);
    const rows = this.plot.series.length - 1;
    const values = Array.from({ length: rows }, (_, index) => {
      const there = new Set(points.filter(([, row]) => row === index).map(([at]) => at));
      return times.map((at) => (there.has(at) ? rows - index : null));
    });
    this.set([times, ...values]);
  }
}

function link(plot, links, row) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.strokeStyle = colour('hint');
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  for (const [from, to] of links) {
    ctx.moveTo(plot.valToPos(from[0], 'x', true), plot.valToPos(row(from[1]), 'y', true));
    ctx.lineTo(plot.valToPos(to[0], 'x', true), plot.valToPos(row(to[1]), 'y', true));
  }
  ctx.stroke();
  ctx.restore();
}
