// A heat map of latencies: time from left to right, buckets of a histogram from below to above, the darker the more.

import { Chart, TIME, axis, timeAxis } from './charts.js';
import { colour, make } from '../shared/dom.js';
import { cellAt } from './series.js';
import { clock, duration, number, text } from '../shared/text.js';

const bound = (bounds, index) => (index < bounds.length ? `≤ ${duration(bounds[index] * 1_000)}` : `> ${duration(bounds.at(-1) * 1_000)}`);

export class HeatMap extends Chart {
  #state;
  #readout = make('p', 'readout hint');

  constructor(host, title, empty, group, stretch) {
    const state = { bounds: [], cells: [] };
    const splits = () => state.bounds.map((_, index) => index + 0.5).filter((_, index) => index % 3 === 0);
    const values = (_, rows) => rows.map((at) => bound(state.bounds, Math.floor(at)));
    super(host, title, [], {
      empty,
      group,
      stretch,
      isLedgers: true,
      series: [TIME, { paths: () => null, points: { show: false } }],
      scales: { y: { range: () => [0, state.bounds.length + 1] } },
      axes: [timeAxis(), axis({ size: 78, splits, values })],
      legend: { show: false },
      hooks: { draw: [(plot) => paint(plot, state)], setCursor: [() => state.point?.()] },
    });
    this.#state = Object.assign(state, { point: () => this.#point() });
    this.body.append(this.#readout);
    this.#point();
  }

  /** Takes times, the bounds of the buckets, and at each time how many came into each bucket. */
  fill(times, bounds, cells) {
    Object.assign(this.#state, { bounds, cells });
    // uPlot is given what makes it draw, and the note over an empty chart what makes it go.
    const isThere = cells.some((counts) => counts?.some((count) => count > 0));
    this.set([times, times.map(() => (isThere ? 0 : null))]);
    this.#point();
  }

  rename() {
    super.rename();
    // The first time is before there is anything to point at.
    if (#state in this && this.#state) this.#point();
  }

  #point() {
    const { left, top } = this.plot.cursor;
    const { bounds, cells } = this.#state;
    const found = left >= 0 && cellAt(this.plot.data[0], cells, this.plot.posToVal(left, 'x'), this.plot.posToVal(top, 'y'));
    this.#readout.textContent = found
      ? text('cell', clock(this.plot.data[0][found.column]), bound(bounds, found.row), number(found.count))
      : text('pointAt');
  }
}

function paint(plot, { cells }) {
  const { ctx, data, bbox } = plot;
  const most = Math.max(1, ...cells.map((counts) => Math.max(0, ...(counts ?? []))));
  const rgb = colour('heat');
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
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
