// Conflicts: what the ledger has beside what was refused, with the fields that differ.

import { getExact } from './api.js';
import { compare } from './compare.js';
import { find, make, put } from '../shared/dom.js';
import { field, table, withRole } from './tables.js';
import { moment, number, text } from '../shared/text.js';

const LIMIT = 100;

/** Gives what writes them. */
export async function showConflicts() {
  const { conflicts, total = null, groups = [] } = await getExact(`conflicts?limit=${LIMIT}`);
  return () => {
    const none = make('p', 'hint panel', text('noConflicts'));
    const all = total > 0 ? [together(total, groups, conflicts.length)] : [];
    put(find('conflict-list'), ...all, ...(conflicts.length ? conflicts.map(panel) : [none]));
  };
}

/** How many there are, by the kind of what was refused. */
function together(total, groups, shown) {
  const host = make('section', 'panel');
  const words = [text('conflictCount', total), ...(shown < total ? [text('latestShown', shown)] : [])];
  const inside = make('div', 'wide');
  inside.tabIndex = 0;
  inside.setAttribute('role', 'region');
  inside.setAttribute('aria-label', text('conflicts'));
  const row = (group, index) => {
    const count = (name) => field(`groups.${index}.${name}`, number(group[name]));
    return [text(group.kind), group.code, count('conflicts'), count('count'), count('users'), moment(group.first_seen_at), moment(group.seen_at)];
  };
  table(inside, ['kind', 'code', 'conflicts', 'timesRefused', 'users', 'first', 'last'], groups.map(row));
  host.append(make('h2', '', words.join('; ')), inside);
  return host;
}

/** A refused entry beside the one in the ledger. */
export function panel(conflict) {
  const host = make('section', 'panel conflict');
  // It scrolls, and has to by keys, too.
  host.tabIndex = 0;
  host.setAttribute('aria-label', conflict.event_id);
  const whole = withRole(make('table'), 'table');
  const head = withRole(whole.createTHead().insertRow(), 'row');
  for (const name of ['field', 'inLedger', 'refused']) {
    const cell = withRole(make('th', '', text(name)), 'columnheader');
    cell.scope = 'col';
    head.append(cell);
  }
  const body = whole.createTBody();
  for (const { field, known, refused, differs } of compare(conflict)) {
    const name = withRole(make('th', '', field), 'rowheader');
    name.scope = 'row';
    const value = (words) => withRole(make('td', differs ? 'differs' : '', words ?? '–'), 'cell');
    withRole(body.insertRow(), 'row').append(name, value(known), value(refused));
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
