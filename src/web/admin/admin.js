// The operators' dashboard. Start here: sign-in, the views by the address's hash, and the live stream that feeds them.

import { follow, get, isSignedIn, useToken } from './api.js';
import { showCanary } from './canary.js';
import { showConflicts } from './conflicts.js';
import { find } from './dom.js';
import { Overview } from './overview.js';
import { Series } from './series.js';
import { speak, text, time } from './text.js';
import { UserView } from './user.js';

const VIEWS = ['overview', 'user', 'conflicts', 'canary'];
const LISTS_MS = 10_000;

let series = new Series();
let overview;
let following;
const userView = new UserView();

function view() {
  const [name, id] = location.hash.slice(1).split('/');
  return [VIEWS.includes(name) ? name : 'overview', /^[1-9][0-9]{0,15}$/.test(id ?? '') ? id : null];
}

function show() {
  const [name, id] = view();
  for (const one of VIEWS) find(one).hidden = !isSignedIn() || one !== name;
  for (const link of document.querySelectorAll('#views a')) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (!isSignedIn()) return;
  userView.close();
  if (name === 'overview') {
    overview ??= new Overview();
    overview.show(series);
  } else if (name === 'user') {
    userView.open(id);
  } else {
    list();
  }
}

/** Writes a list that no stream feeds. */
async function list() {
  const [name] = view();
  try {
    if (name === 'conflicts') await showConflicts();
    if (name === 'canary') await showCanary();
  } catch (error) {
    state(error);
  }
}

function state(error) {
  find('link').className = error ? 'link is-bad' : 'link';
  if (error?.status === 401) return signOut(text('wrongToken'));
  if (error) find('link').textContent = text('away', error.message);
  else find('link').textContent = series.latest ? text('live', time(series.latest.at)) : text('connecting');
}

function take(name, data) {
  if (name !== 'snapshot') return state(new Error(data.detail));
  series.add(data);
  state();
  if (view()[0] === 'overview') overview?.show(series);
}

async function signIn(token) {
  useToken(token);
  find('sign-in-error').textContent = '';
  try {
    await get('registry');
  } catch (error) {
    return signOut(error.status === 401 ? text('wrongToken') : error.message);
  }
  find('token').value = '';
  find('sign-in').hidden = true;
  find('views').hidden = find('sign-out').hidden = false;
  state();
  show();
  following = new AbortController();
  follow(following.signal, { onEvent: take, onState: state });
}

function signOut(why = '') {
  following?.abort();
  useToken('');
  series = new Series();
  userView.forget();
  find('sign-in').hidden = false;
  find('views').hidden = find('sign-out').hidden = true;
  find('link').textContent = '';
  find('sign-in-error').textContent = why;
  show();
  find('token').focus();
}

find('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn(find('token').value);
});
find('sign-out').addEventListener('click', () => signOut());
addEventListener('hashchange', show);
setInterval(() => isSignedIn() && !document.hidden && list(), LISTS_MS);
speak(() => {
  overview?.rename();
  userView.write();
  if (isSignedIn()) {
    state();
    overview?.show(series);
    list();
  }
});
show();
find('token').focus();
