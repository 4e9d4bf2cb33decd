// The operators' dashboard. Start here: sign-in, the views by the address's hash, and the live stream that feeds them.

import './words.js';
import { follow, get, useToken } from './api.js';
import { showCanary } from './canary.js';
import { load } from './charts.js';
import { showConflicts } from './conflicts.js';
import { EventsView } from './events.js';
import { find } from '../shared/dom.js';
import { showFound } from './find.js';
import { Freshness } from './freshness.js';
import { Overview, tellNoCharts } from './overview.js';
import { showResidents } from './residents.js';
import { Series, WINDOW_S } from './series.js';
import { explain, speak, text, time, zone } from '../shared/text.js';
import { UserView } from './user.js';

const VIEWS = ['overview', 'user', 'events', 'find', 'conflicts', 'canary'];
const LISTS_MS = 10_000;
const EVENTS_MS = 1_000;

let series = new Series();
/** Whether somebody is in; counts the attempts, so that a late answer is nobody's. */
let [isIn, attempts] = [false, 0];
/** The stream: what ends it, and of which user it tells. */
let following = null;
let isHistoryDue = false;
/** How often the lists were asked for, and the latest of these questions that was answered. */
let [questions, answered] = [0, 0];
const userView = new UserView();
const overview = new Overview();
const eventsView = new EventsView(list);
const freshness = new Freshness();

/** The view and what it is about: `#user/184`, `#find=farm:184:1`. */
function view() {
  const wanted = /^#find=(.*)$/.exec(location.hash);
  if (wanted) return ['find', decoded(wanted[1]).trim()];
  const [name, id] = location.hash.slice(1).split('/');
  return [VIEWS.includes(name) ? name : 'overview', /^[1-9][0-9]{0,15}$/.test(id ?? '') ? id : null];
}

function decoded(escaped) {
  try {
    return decodeURIComponent(escaped);
  } catch {
    return escaped;
  }
}

function show() {
  const [name, id] = view();
  if (name === 'find') find('find-text').value = id ?? '';
  document.title = isIn ? `${text(name)}${name === 'user' && id ? ` ${id}` : ''} · ${text('title')}` : text('title');
  // Not by the names of the hash: what is jumped to takes the focus.
  for (const one of VIEWS) find(`view-${one}`).hidden = !isIn || one !== name;
  for (const link of document.querySelectorAll('#views a')) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (!isIn) return;
  if (name === 'user') userView.open(id);
  else userView.close();
  if (name === 'events') eventsView.open(id);
  if (name === 'overview') overview.show(series);
  listen();
  find('list-error').textContent = '';
  freshness.turned();
  list();
}

/** Keeps one stream, with the user that is looked at. */
function listen() {
  const userId = userView.watched;
  if (following?.userId === userId) return;
  following?.end.abort();
  following = { userId, end: new AbortController() };
  follow(following.end.signal, { userId, onOpen: begin, onEvent: take, onState: state });
}

/** A stream begins: what was before it is asked for once it is known that the service keeps a history. */
function begin() {
  userView.begin();
  eventsView.readAnew();
  isHistoryDue = true;
}

/** Takes what the service remembers from before the stream. */
async function recall() {
  isHistoryDue = false;
  const of = series;
  try {
    const history = await get(`history?seconds=${WINDOW_S}`);
    if (of !== series) return;
    series.remember(history);
    overview.remember(history.snapshots ?? []);
    if (view()[0] === 'overview') overview.show(series);
  } catch {
    // The stream tells of a service that is away.
  }
}

/** Writes a list that no stream feeds. An answer that another view or the answer to a later question has overtaken is nobody's. */
async function list() {
  const question = ++questions;
  const [name, id] = view();
  const found = () => showFound(id ?? '');
  const events = () => eventsView.read();
  const show = { conflicts: showConflicts, canary: showCanary, find: found, events, user: id === null ? showResidents : null }[name];
  let [write, why] = [null, ''];
  try {
    write = await show?.();
  } catch (error) {
    if (error.status === 401) return signOut(explain(error));
    why = explain(error);
  }
  const [shown, of] = view();
  if (!isIn || shown !== name || of !== id || question < answered) return;
  answered = question;
  try {
    write?.();
  } catch (error) {
    why = explain(error);
  }
  find('list-error').textContent = why;
  freshness.listed(why === '');
}

function state(error) {
  if (error?.status === 401) return signOut(explain(error));
  const now = error ? null : series.latest;
  if (error) freshness.failed(explain(error));
  const why = freshness.why;
  const words = why === null ? text(now ? 'live' : 'connecting') : text('away', why);
  find('link').className = why === null ? '' : 'is-bad';
  // It is read aloud when it changes; the time beside it is not.
  if (find('link').textContent !== words) find('link').textContent = words;
  find('link-time').textContent = now ? time(now.at) : '';
}

function take(name, data) {
  if (name === 'user') return userView.take(data);
  if (name !== 'snapshot') return state(new Error(data.detail));
  series.add(data);
  freshness.heard(data);
  userView.seen(data);
  overview.remember([data]);
  // A service that tells no findings has no history either.
  if (isHistoryDue && data.findings) recall();
  state();
  if (view()[0] === 'overview') overview.show(series);
}

async function signIn(token) {
  const attempt = ++attempts;
  useToken(token);
  find('sign-in-error').textContent = '';
  try {
    await get('registry');
  } catch (error) {
    if (attempt === attempts) signOut(explain(error));
    return;
  }
  if (attempt !== attempts) return;
  isIn = true;
  freshness.start(state);
  find('token').value = '';
  find('sign-in').hidden = true;
  find('views').hidden = find('find-entry').hidden = find('sign-out').hidden = find('zone').hidden = false;
  state();
  show();
  // What had the focus is gone.
  const isLost = find('sign-in').contains(document.activeElement) || document.activeElement === document.body;
  if (isLost) (document.querySelector('#views a[aria-current]') ?? find('find-text')).focus();
}

function signOut(why) {
  following?.end.abort();
  following = null;
  useToken('');
  isIn = false;
  freshness.stop();
  series = new Series();
  userView.close();
  find('sign-in').hidden = false;
  find('views').hidden = find('find-entry').hidden = find('sign-out').hidden = find('zone').hidden = true;
  find('link').textContent = find('link-time').textContent = '';
  find('sign-in-error').textContent = why;
  show();
  find('token').focus();
}

find('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn(find('token').value);
});
// A new page has nothing of what was seen.
find('sign-out').addEventListener('click', () => location.reload());
find('sort').addEventListener('change', list);
find('find-entry').addEventListener('submit', (event) => {
  event.preventDefault();
  location.hash = `#find=${encodeURIComponent(find('find-text').value.trim())}`;
});
addEventListener('hashchange', show);
const listAgain = () => isIn && !document.hidden && list();
setInterval(listAgain, LISTS_MS);
setInterval(() => view()[0] === 'events' && listAgain(), EVENTS_MS);
document.addEventListener('visibilitychange', listAgain);
const name = () => (find('find-text').placeholder = text('findLabel'));
speak(() => {
  name();
  find('zone').textContent = text('zone', zone());
  overview.rename();
  userView.rename();
  eventsView.write();
  if (!isIn) return;
  state();
  show();
});
find('zone').textContent = text('zone', zone());
name();
show();
find('token').focus();
load().then(show, tellNoCharts);
