// Conflicts: what the ledger has beside what was refused, with the fields that differ.

import { get } from './api.js';
import { find, make } from './dom.js';
import { text, time } from './text.js';

const LIMIT = 100;
// What only an entry in the ledger has.
const LEDGER_ONLY = new Set(['version', 'balance_after', 'committed_at']);

/** Rows of a conflict: field, both values, and whether they differ. */
export function compare({ first, second }) {
  const fields = [...new Set([...Object.keys(first ?? {}), ...Object.keys(second)])];
  const written = (value) => (typeof value === 'object' && value !== null ? JSON.stringify(value) : value?.toString());
  return fields.map((field) => {
    const [known, refused] = [written(first?.[field]), written(second[field])];
    return { field, known, refused, differs: first !== null && !LEDGER_ONLY.has(field) && known !== refused };
  });
}

export async function showConflicts() {
  const { conflicts } = await get(`conflicts?limit=${LIMIT}`);
  const none = make('p', 'hint', text('noConflicts'));
  find('conflict-list').replaceChildren(...(conflicts.length ? conflicts.map(panel) : [none]));
}

function panel(conflict) {
  const host = make('section', 'panel conflict');
  const whole = make('table');
  const head = whole.createTHead().insertRow();
  for (const name of ['field', 'inLedger', 'refused']) {
    const cell = make('th', '', text(name));
    cell.scope = 'col';
    head.append(cell);
  }
  const body = whole.createTBody();
  for (const { field, known, refused, differs } of compare(conflict)) {
    const name = make('th', '', field);
    name.scope = 'row';
    const className = differs ? 'differs' : '';
    body.insertRow().append(name, make('td', className, known ?? '–'), make('td', className, refused ?? '–'));
  }
  host.append(make('h2', '', `${conflict.event_id}, ${time(conflict.seen_at)}`), whole);
  return host;
}
