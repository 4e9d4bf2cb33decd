// Conflicts: what the ledger has beside what was refused, with the fields that differ.

import { get } from './api.js';
import { compare } from './compare.js';
import { find, make } from './dom.js';
import { text, time } from './text.js';

const LIMIT = 100;

export async function showConflicts() {
  const { conflicts } = await get(`conflicts?limit=${LIMIT}`);
  const none = make('p', 'hint', text('noConflicts'));
  find('conflict-list').replaceChildren(...(conflicts.length ? conflicts.map(panel) : [none]));
}

function panel(conflict) {
  const host = make('section', 'panel conflict');
  // It scrolls, and has to by keys, too.
  host.tabIndex = 0;
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
