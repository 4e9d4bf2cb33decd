// What became of an entry: found by its event id, by the hash of its transaction in any spelling, or by its user. Told apart
// are what is in the ledger, what was refused under the same key, and what nothing is known of.

import { getExact } from './api.js';
import { panel, userLink } from './conflicts.js';
import { find, make, put } from '../shared/dom.js';
import { facts } from './tables.js';
import { moment, text } from '../shared/text.js';

const USER = /^[1-9][0-9]{0,15}$/;
const EVENT = /^[ -~]{1,128}$/;
const HASH = /^(?:[0-9a-fA-F]{64}|[0-9A-Za-z+/_-]{43}=?)$/;

/** What a text may be: queries of the API, and a user. */
export function meanings(wanted) {
  const query = (name) => `entries?${name}=${encodeURIComponent(wanted)}`;
  return {
    user: USER.test(wanted) ? wanted : null,
    // A hash first: who asks for one hardly means an event id of the same letters.
    queries: [...(HASH.test(wanted) ? [query('tx_hash')] : []), ...(EVENT.test(wanted) ? [query('event_id')] : [])],
  };
}

/** Leads to an entry. */
export function entryLink(eventId) {
  const link = make('a', 'entry-link', eventId);
  link.href = `#find=${encodeURIComponent(eventId)}`;
  return link;
}

let latest = null;

/** What is found of a text; without one what can be looked for. Gives what writes it. */
export async function showFound(wanted) {
  // What was found of another text does not stand under this one.
  if (wanted !== latest) put(find('found'));
  latest = wanted;
  const said = wanted === '' ? [make('p', 'hint panel', text('findHint'))] : await answer(wanted);
  return () => put(find('found'), ...said);
}

async function answer(wanted) {
  const { user, queries } = meanings(wanted);
  const [said, conflicts] = [[], new Map()];
  if (user !== null) {
    const host = make('p', 'panel');
    host.append(userLink(user));
    said.push(host);
  }
  for (const query of queries) {
    try {
      return [...said, entry(await getExact(query))];
    } catch (error) {
      if (error.status !== 404) throw error;
      for (const conflict of error.problem.conflicts ?? []) conflicts.set(JSON.stringify(conflict), conflict);
    }
  }
  const words = conflicts.size ? 'onlyRefused' : 'notHere';
  return [...said, make('p', 'panel', text(words, wanted)), ...[...conflicts.values()].map(panel)];
}

function entry(found) {
  const host = make('section', 'panel');
  const inside = make('div', 'wide');
  const shown = { user_id: userLink, reverses: entryLink, committed_at: moment, occurred_at: moment };
  const value = ([name, value]) => shown[name]?.(value) ?? (typeof value === 'object' ? JSON.stringify(value) : value);
  facts(inside, Object.entries(found).map((member) => [member[0], value(member)]));
  host.append(make('h2', '', text('inTheLedger', found.event_id)), inside);
  return host;
}
