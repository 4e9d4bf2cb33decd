// The page of development: a balance in the look of a Telegram mini app, and a bench beside it. Everything that it shows
// comes from the browser library and the public API; only signing in is special to development. Start here.

import './words.js';
import { BalanceClient } from '/client/balance-client.js';
import { Bench } from './bench.js';
import { rewriteBalance, showBalance } from './card.js';
import { find } from '../shared/dom.js';
import { History } from './history.js';
import { line } from './line.js';
import { speak } from '../shared/text.js';

const FIRST_USER = 184;

let client;
let history;
const bench = new Bench();

function signIn(userId) {
  client?.stop();
  history?.stop();
  find('user').value = userId;
  const url = new URL(location);
  url.searchParams.set('user', userId);
  window.history.replaceState(null, '', url);

  const getToken = () => tokenOf(userId);
  const own = (client = new BalanceClient({ getToken, userId, storage: () => localStorage, env: line }));
  history = new History((limit, before) => readEntries(getToken, limit, before));
  client.subscribe((state) => {
    if (own === client) show(state);
  });
  client.start();
}

function show(state) {
  const settled = showBalance(state);
  bench.follow(state, settled);
  if (state.userId === null) history.clear();
  else if (!state.isStale) history.follow(state.version, state.epoch);
  find('refresh').disabled = state.status === 'closed' && !state.error;
  find('sign-out').disabled = find('refresh').disabled;
}

async function tokenOf(userId) {
  const response = await line.fetch(`/dev/v1/token?user_id=${userId}`);
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return (await response.json()).token;
}

async function readEntries(getToken, limit, before) {
  const query = before === undefined ? '' : `&before_version=${before}`;
  const headers = { authorization: `Bearer ${await getToken()}` };
  const response = await line.fetch(`/api/v1/entries?limit=${limit}${query}`, { headers });
  if (!response.ok) throw new Error(`no history: ${response.status}`);
  return (await response.json()).entries;
}

find('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn(Number(find('user').value));
});
find('sign-out').addEventListener('click', () => {
  client.stop();
  history.stop();
});
find('refresh').addEventListener('click', () => client.refresh());

speak(() => {
  rewriteBalance(client.current);
  history.write();
  bench.write();
});
const asked = Number(new URL(location).searchParams.get('user'));
signIn(Number.isSafeInteger(asked) && asked > 0 ? asked : FIRST_USER);
