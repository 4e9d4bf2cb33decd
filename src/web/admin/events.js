// What happened at this node lately, newest first: followed while it is in sight, of one kind and one user when they are
// chosen, and held still by a pause.

import { eventDetail } from './actor.js';
import { get } from './api.js';
import { userLink } from './conflicts.js';
import { find, write } from '../shared/dom.js';
import { field, table } from './tables.js';
import { moment, text } from '../shared/text.js';
import { EVENTS_MAX, joined } from './timeline.js';

/** As many as the service tells at once. */
const ASKED = 1_000;
const USER = /^[1-9][0-9]{0,15}$/;

export class EventsView {
  #shown = [];
  #newer = []; // came during a pause
  #latest = 0; // the number of the latest event that is known of
  #skipped = 0;
  #isHeld = false;
  #isAnew = false; // what is shown is of an earlier stream
  #isKnown = false;
  #asking = null;

  constructor(again) {
    find('events-filter').addEventListener('submit', (event) => event.preventDefault());
    for (const name of ['events-kind', 'events-user']) {
      find(name).addEventListener('change', () => {
        if (!find(name).reportValidity()) return;
        this.begin();
        again();
      });
    }
    find('events-pause').addEventListener('click', () => {
      this.#isHeld = !this.#isHeld;
      if (!this.#isHeld) this.#take();
      this.write();
    });
  }

  /** Starts over, with another choice. */
  begin() {
    this.#isHeld = false;
    this.readAnew();
  }

  /** Another process may count anew. What is held still stays in sight. */
  readAnew() {
    if (!this.#isHeld) this.#shown = [];
    [this.#newer, this.#latest, this.#skipped] = [[], 0, 0];
    [this.#isAnew, this.#isKnown, this.#asking] = [true, false, null];
  }

  /** Takes the user from the address. */
  open(id) {
    if (id === null || find('events-user').value === id) return;
    find('events-user').value = id;
    this.begin();
  }

  /** Reads what is new, or joins who does. */
  async read() {
    if (!this.#asking) {
      const asking = (this.#asking = {});
      asking.done = this.#ask(asking);
    }
    return this.#asking.done;
  }

  async #ask(asking) {
    const [user, kinds] = [find('events-user').value, find('events-kind').value];
    const chosen = `${USER.test(user) ? `&user_id=${user}` : ''}${kinds ? `&kind=${kinds}` : ''}`;
    try {
      const { latest_seq: latest, events } = await get(`events?limit=${ASKED}&after=${this.#latest}${chosen}`);
      if (asking !== this.#asking) return;
      if (latest < this.#latest) this.readAnew();
      else this.#add(events, latest);
    } finally {
      if (asking === this.#asking) this.#asking = null;
    }
    this.write();
  }

  #add(events, latest) {
    // A full answer has the newest alone.
    if (this.#isKnown && events.length === ASKED) this.#skipped += Math.max(events.at(-1).seq - this.#latest - 1, 0);
    this.#newer = joined(this.#newer, events);
    [this.#latest, this.#isKnown] = [latest, true];
    if (!this.#isHeld) this.#take();
  }

  #take() {
    this.#shown = this.#isAnew ? this.#newer : joined(this.#shown, this.#newer);
    [this.#newer, this.#isAnew] = [[], false];
  }

  write() {
    const button = find('events-pause');
    write(button, text(this.#isHeld ? 'goOn' : 'pause'));
    button.setAttribute('aria-pressed', String(this.#isHeld));
    if (!this.#isKnown) return write(find('events-state'), '');
    const count = text('eventCount', this.#shown.length);
    const newest = this.#shown[0]?.at ?? '';
    const since = this.#newer.filter(({ at }) => at > newest).length;
    const newer = since ? text('newer', `${since}${since === EVENTS_MAX ? '+' : ''}`) : '';
    const skipped = this.#skipped ? text('skipped', this.#skipped) : '';
    write(find('events-state'), [text(this.#isHeld ? 'held' : 'followed', count), newer, skipped].filter(Boolean).join('; '));
    const row = (event, index) => {
      const of = (name) => `events.${index}.${name}`;
      const what = { entry: event.kind, displayed: 'shown' }[event.what] ?? event.what;
      return [field(of('at'), moment(event.at)), userLink(event.user_id), text(what), field(of('version'), event.version), eventDetail(event)];
    };
    table(find('event-list'), ['at', 'user', 'what', 'version', 'detail'], this.#shown.map(row), 'noEvents');
  }
}
