// Conflicts: what the ledger has beside what was refused, with the fields that differ.

import { getExact } from './api.js';
import { compare } from './compare.js';
import { find, make, put } from '../shared/dom.js';
import { moment, text } from '../shared/text.js';

const LIMIT = 100;

export async function showConflicts() {
  const { conflicts } = await getExact(`conflicts?limit=${LIMIT}`);
  const none = make('p', 'hint panel', text('noConflicts'));
  put(find('conflict-list'), ...(conflicts.length ? conflicts.map(panel) : [none]));
}

/** A refused entry beside the one in the ledger. */
export function panel(conflict) {
  const host = make('section', 'panel conflict');
  // It scrolls, and has to by keys, too.
  host.tabIndex = 0;
  host.setAttribute('aria-label', conflict.event_id);
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
  const heading = make('h2', '', `${conflict.event_id}, `);
  heading.append(moment(conflict.seen_at), ', ', userLink(conflict.second.user_id));
  const often = make('p', 'hint', `${text('refusedTimes', conflict.count)} `);
  often.append(moment(conflict.first_seen_at));
  host.append(heading, often, whole);
  return host;
}

/** Leads to the view of a user. */
export function userLink(id) {
  const link = make('a', 'user-link', `${text('user')} ${id}`);
  link.href = `#user/${id}`;
  return link;
}
