// Tables and lists of facts.

import { make } from './dom.js';
import { text } from './text.js';

/** A table in the place of what is in `host`; a cell is a text or an element. */
export function table(host, heads, rows, empty = 'none') {
  if (rows.length === 0) return host.replaceChildren(make('p', 'hint', text(empty)));
  const whole = make('table');
  const head = whole.createTHead().insertRow();
  for (const name of heads) {
    const cell = make('th', '', text(name));
    cell.scope = 'col';
    head.append(cell);
  }
  const body = whole.createTBody();
  for (const row of rows) body.insertRow().append(...row.map(cell));
  host.replaceChildren(whole);
}

/** A table of names and values. */
export function facts(host, rows) {
  const whole = make('table');
  for (const [name, value, field] of rows) {
    const row = whole.insertRow();
    const head = make('th', '', text(name));
    head.scope = 'row';
    const shown = cell(value);
    if (field) shown.dataset.field = field;
    row.append(head, shown);
  }
  host.replaceChildren(whole);
}

function cell(value) {
  const element = make('td');
  element.append(value instanceof Node ? value : (value ?? '–').toString());
  return element;
}
