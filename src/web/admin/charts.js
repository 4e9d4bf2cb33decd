// Charts by uPlot: lines over time, a heat map of latencies, and points on rows. Colours are asked for at each drawing, so
// that a change of the scheme is one more drawing.

import { colour, make } from './dom.js';
import { clock, text } from './text.js';
import uPlot from './uplot.js';

const HEIGHT = 180;
const COLOURS = 5;
/** The least height of a scale. */
const LEAST = 0.01;
const charts = new Set();

// Later, since a chart of another size may change what is observed.
const resized = new ResizeObserver((entries) => {
  requestAnimationFrame(() => entries.forEach(({ target, contentRect }) => fit(target.chart, Math.max(contentRect.width, 160))));
});

function fit(chart, width) {
  if (chart && chart.width !== width) chart.setSize({ width, height: HEIGHT });
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.forEach((chart) => chart.redraw(false)));

// Not uPlot's own: they know English alone.
const TIME = { label: '', value: (_, at) => (at === null ? '–' : clock(at)) };
const timeAxis = () => axis({ space: 90, values: (_, splits) => splits.map(clock) });

const axis = (more = {}) => ({
  stroke: () => colour('hint'),
  grid: { stroke: () => colour('line'), width: 1 },
  ticks: { stroke: () => colour('line'), width: 1 },
  ...more,
});

/** Builds a chart in a panel of its own; it is written again, with the words of another language, by `rename`. */
class Chart {
  #title;
  #names;
  #plot;

  constructor(host, title, names, options) {
    this.#title = title;
    this.#names = names;
    const panel = make('section', 'chart');
    this.heading = make('h2', '', text(title));
    this.body = make('div');
    this.body.setAttribute('role', 'img');
    panel.append(this.heading, this.body);
    host.append(panel);
    const base = { width: Math.max(this.body.clientWidth, 160), height: HEIGHT, legend: { live: true }, axes: [timeAxis(), axis({ size: 62 })] };
    this.#plot = new uPlot({ ...base, ...options }, [[], ...options.series.slice(1).map(() => [])], this.body);
    this.body.chart = this.#plot;
    resized.observe(this.body);
    charts.add(this.#plot);
    this.rename();
  }

  set(data) {
    this.#plot.setData(data);
  }

  rename() {
    this.heading.textContent = text(this.#title);
    this.body.setAttribute('aria-label', text(this.#title));
    const first = this.body.querySelector('.u-legend .u-series:first-child .u-label');
    if (first) first.textContent = text('at');
    const labels = this.body.querySelectorAll('.u-legend .u-series:not(:first-child) .u-label');
    labels.forEach((label, index) => (label.textContent = text(this.#names[index])));
  }
}

const shown = (value) => (value === null || value === undefined ? '–' : Number(value.toPrecision(3)).toString());

export function lines(host, title, names) {
  const series = names.map((name, index) => ({
    label: text(name),
    stroke: () => colour(`series-${(index % COLOURS) + 1}`),
    width: 2,
    value: (_, value) => shown(value),
  }));
  const scales = { y: { range: (_, __, most) => [0, Math.max(most ?? 0, LEAST) * 1.1] } };
  return new Chart(host, title, names, { series: [TIME, ...series], scales });
}

const bound = (bounds, index) => (index < bounds.length ? `≤ ${bounds[index]} s` : `> ${bounds.at(-1)} s`);

/** `set` takes times; `cells` the counts of every bucket at each of them. */
export class HeatMap extends Chart {
  #state;

  constructor(host, title) {
    const state = { bounds: [], cells: [] };
    super(host, title, [], {
      series: [TIME, { paths: () => null, points: { show: false } }],
      scales: { y: { range: () => [0, state.bounds.length + 1] } },
      axes: [timeAxis(), axis({ size: 78, splits: () => state.bounds.map((_, index) => index + 0.5).filter((_, index) => index % 3 === 0), values: (_, splits) => splits.map((at) => bound(state.bounds, Math.floor(at))) })],
      legend: { show: false },
      hooks: { draw: [(plot) => paint(plot, state)] },
    });
    this.#state = state;
  }

  fill(times, bounds, cells) {
    Object.assign(this.#state, { bounds, cells });
    this.set([times, times.map(() => 0)]);
  }
}

function paint(plot, { cells }) {
  const { ctx, data } = plot;
  const most = Math.max(1, ...cells.flatMap((counts) => counts ?? [0]));
  const rgb = colour('heat');
  ctx.save();
  for (const [column, counts] of cells.entries()) {
    if (!counts || column === 0) continue;
    const [from, to] = [data[0][column - 1], data[0][column]].map((at) => plot.valToPos(at, 'x', true));
    for (const [row, count] of counts.entries()) {
      if (count <= 0) continue;
      const [bottom, top] = [row, row + 1].map((at) => plot.valToPos(at, 'y', true));
      // Few must be seen beside many.
      ctx.fillStyle = `rgb(${rgb} / ${0.25 + (0.75 * Math.log1p(count)) / Math.log1p(most)})`;
      ctx.fillRect(from, top, Math.max(to - from, 1), bottom - top);
    }
  }
  ctx.restore();
}

/** Points on named rows, the first on top; `links` are pairs of `[time, row]`. */
export class Rows extends Chart {
  #state;

  constructor(host, title, names) {
    const state = { links: [] };
    const series = names.map((name, index) => ({
      label: text(name),
      stroke: () => colour(`series-${index + 1}`),
      paths: () => null,
      points: { show: true, size: 8, fill: () => colour(`series-${index + 1}`) },
    }));
    const row = (index) => names.length - index;
    super(host, title, names, {
      series: [TIME, ...series],
      scales: { y: { range: () => [0.5, names.length + 0.5] } },
      axes: [timeAxis(), axis({ size: 90, splits: () => names.map((_, index) => row(index)), values: () => names.map((name) => text(name)) })],
      legend: { show: false },
      hooks: { drawAxes: [(plot) => link(plot, state.links, row)] },
    });
    this.#state = state;
  }

  fill(points, links, names) {
    this.#state.links = links;
    const times = [...new Set(points.map(([at]) => at))].sort((a, b) => a - b);
    const rows = names.map((_, index) => {
      const there = new Set(points.filter(([, row]) => row === index).map(([at]) => at));
      return times.map((at) => (there.has(at) ? names.length - index : null));
    });
    this.set([times, ...rows]);
  }
}

function link(plot, links, row) {
  const { ctx } = plot;
  ctx.save();
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
