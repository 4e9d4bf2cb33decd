// Where the search for a user begins: who is in memory, and which orders were given lately.

import { get } from './api.js';
import { userLink } from './conflicts.js';
import { find } from '../shared/dom.js';
import { field, table } from './tables.js';
import { duration, moment, number, text } from '../shared/text.js';

const LIMIT = 20;

/** Gives what writes it. */
export async function showResidents() {
  const [{ actors }, { log }] = await Promise.all([get(`actors?limit=${LIMIT}&sort=${find('sort').value}`), get(`log?limit=${LIMIT}`)]);
  const resident = (actor, index) => {
    const count = (name) => field(`actors.${index}.${name}`, number(actor[name]));
    return [userLink(actor.user_id), count('sessions'), count('entries'), field(`actors.${index}.idle_ms`, duration(actor.idle_ms))];
  };
  const given = ({ at, admin, action, user_id: id }) => [moment(at), admin, text(action === 'push' ? 'pushNow' : action), userLink(id)];
  return () => {
    table(find('residents'), ['user', 'sessions', 'entriesThrough', 'idle'], actors.map(resident), 'noResidents');
    table(find('order-log'), ['at', 'admin', 'order', 'user'], log.map(given), 'noOrders');
  };
}
