// The balance: the numbers, whose they are, how far to trust them, and the change that came last.

import { format } from '/client/balance-client.js';
import { Amount } from './amount.js';
import { find, make, write } from '../shared/dom.js';
import { locale, text, time, word } from '../shared/text.js';

const amounts = new Map();
let userId = null;

/** Resolves when every number stands there exactly. */
export function showBalance(state) {
  const { balances, isStale, version, lastUpdate } = state;
  if (!balances || state.userId !== userId) clear();
  userId = state.userId;
  const mayCount = lastUpdate?.version === version;
  const shown = Object.entries(balances ?? {}).map(([code, amount]) => amountOf(code).show(amount, mayCount));
  writeCard(state, isStale);
  return Promise.all(shown);
}

/** Writes everything again, in another language. */
export function rewriteBalance(state) {
  for (const amount of amounts.values()) amount.write();
  writeCard(state, state.isStale);
}

export function signed(amount, code) {
  const text = format(amount, { locale: locale(), signDisplay: 'exceptZero' });
  return `${text.replace('-', '−')} ${code}`;
}

function clear() {
  amounts.clear();
  find('balances').replaceChildren(make('p', 'none', '—'));
}

function amountOf(code) {
  if (amounts.size === 0) find('balances').replaceChildren();
  let amount = amounts.get(code);
  if (!amount) {
    amount = new Amount(code);
    amounts.set(code, amount);
    find('balances').append(amount.element);
  }
  return amount;
}

function writeCard(state, isStale) {
  const name = nameOf(state);
  const card = find('card');
  card.dataset.state = name;
  card.classList.toggle('is-stale', isStale && state.balances !== null);
  write(find('state'), text(name));
  write(find('who'), state.userId === null ? '' : text('user', state.userId));
  write(find('as-of'), isStale && state.asOf ? text('asOf', time(state.asOf)) : '');
  const change = changeOf(state);
  write(find('change'), change);
  find('change').classList.toggle('is-less', change.startsWith('−'));
  write(find('announcement'), [announced(state), change, isStale && state.balances ? text('notCurrent') : ''].filter(Boolean).join('. '));
}

/** What is written beside the number. */
function nameOf({ status, isStale, error, balances }) {
  if (status === 'live') return isStale ? 'checked' : 'live';
  if (status === 'offline') return isStale ? 'offline' : 'polled';
  if (status === 'unauthorized' || (status === 'closed' && !error)) return 'signedOut';
  return status === 'connecting' && !isStale && balances ? 'live' : status;
}

function changeOf({ lastUpdate, version }) {
  if (!lastUpdate || lastUpdate.version !== version) return '';
  const changes = Object.entries(lastUpdate.changes).map(([code, amount]) => signed(amount, code));
  const sources = lastUpdate.sources.map((source) => word('sources', source));
  const times = lastUpdate.entries > 1 ? ` × ${lastUpdate.entries}` : '';
  return changes.length ? `${changes.join(', ')} · ${sources.join(', ')}${times}` : '';
}

function announced({ balances }) {
  if (!balances) return text('noBalance');
  return Object.entries(balances).map(([code, amount]) => `${format(amount, { locale: locale() })} ${code}`).join(', ');
}
