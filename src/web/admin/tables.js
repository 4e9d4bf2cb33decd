// Tables and lists of facts. A figure that stands in the API's answer carries its path there, in `data-field`.

import { make, put } from '../shared/dom.js';
import { text } from '../shared/text.js';

/** A value with its place in the API's answer; nothing known is a dash. */
export function field(path, value, className = '') {
  const element = make('span', className);
  element.append(value ?? '–');
  element.dataset.field = path;
  return element;
}

/** A table in the place of what is in `host`; a cell is a text or an element. Instead of an empty one it tells why. */
export function table(host, heads, rows, empty = 'none') {
  if (rows.length === 0) return put(host, make('p', 'hint', text(empty)));
  // The roles are those of a table, which a phone shows as a list: there each cell has its head beside it.
  const whole = withRole(make('table', 'list'), 'table');
  const head = withRole(whole.createTHead().insertRow(), 'row');
  for (const name of heads) {
    const cell = withRole(make('th', '', text(name)), 'columnheader');
    cell.scope = 'col';
    head.append(cell);
  }
  const body = whole.createTBody();
  for (const values of rows) {
    const row = withRole(body.insertRow(), 'row');
    row.append(...values.map(cell));
    [...row.cells].forEach((one, index) => (withRole(one, 'cell').dataset.head = text(heads[index])));
  }
  put(host, whole);
}

/** A table of names and values. */
export function facts(host, rows) {
  const whole = make('table', 'facts');
  for (const [name, value] of rows) {
    const row = whole.insertRow();
    const head = make('th', '', text(name));
    head.scope = 'row';
    row.append(head, cell(value));
  }
  put(host, whole);
}

/** A role that stays, whatever a style sheet makes of the element. */
export function withRole(element, role) {
  element.setAttribute('role', role);
  return element;
}

function cell(value) {
  const element = make('td');
  element.append(value instanceof Node ? value : (value ?? '–').toString());
  return element;
}
