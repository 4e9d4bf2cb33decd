// One user: the actor's inside, what waits and for what, sessions, what happened lately, and orders. Nothing is polled: the
// live stream tells of the user while it is looked at, and the ledger is asked when there is a new version.

import { offer } from './actions.js';
import { writeCountdown, writeEntries, writeHappenings, writeInside, writePending, writeSessions } from './actor.js';
import { get } from './api.js';
import { Rows, canDraw } from './charts.js';
import { isCluster, writeUserNodes } from './nodes.js';
import { find } from '../shared/dom.js';
import { explain } from '../shared/text.js';
import { arrange, joined } from './timeline.js';

const COUNTDOWN_MS = 100;
const ENTRIES = 20;
/** How long a ledger that did not answer is left alone. */
const AGAIN_MS = 5_000;
/** How often other nodes are asked for the user that is looked at. */
const NODES_MS = 3_000;

/** The last entries: which version they were asked for at, and how that went. */
const unread = () => ({ entries: null, version: undefined, isKnown: false, isOld: true, isAsked: false, notBefore: 0 });

export class UserView {
  #userId = null;
  #isOpen = false;
  #countdown;
  #timeline;
  /** What the stream told of the user last, and when. */
  #told = null;
  #events = [];
  #history = unread();
  /** What all nodes have of the user, in a cluster. */
  #nodes = null;
  #nodesAsked = -NODES_MS;
  /** When that was asked for. */
  #nodesTold = -Infinity;
  #isOneOfMany = false;

  constructor() {
    find('find-user').addEventListener('submit', (event) => {
      event.preventDefault();
      location.hash = `#user/${find('user-id').value}`;
    });
    find('activate').addEventListener('click', () => this.#activate());
    offer(() => this.#userId, () => this.#askNodes());
  }

  /** Whom the stream has to tell of; null for nobody. */
  get watched() {
    return this.#userId;
  }

  open(id) {
    // It may be written again, in another language, while somebody types.
    if (this.#isOpen && id === this.#userId) return;
    this.#forget();
    this.#userId = id;
    find('user-start').hidden = id !== null;
    find('user-id').value = id ?? '';
    if (id === null && !this.#isOpen) find('user-id').focus();
    this.#isOpen = true;
    clearInterval(this.#countdown);
    this.#countdown = setInterval(() => this.#count(), COUNTDOWN_MS);
  }

  close() {
    this.#isOpen = false;
    clearInterval(this.#countdown);
    this.#forget();
  }

  /** A stream begins: it tells all that is known, once. */
  begin() {
    this.#events = [];
  }

  /** With each snapshot: whether there are other nodes. */
  seen({ cluster }) {
    this.#isOneOfMany = isCluster(cluster);
    find('user-nodes-panel').hidden = !this.#isOneOfMany;
    if (!this.#isOneOfMany) this.#nodes = null;
    else if (performance.now() - this.#nodesAsked >= NODES_MS) this.#askNodes();
  }

  take({ user_id: id, actor, events }) {
    if (String(id) !== this.#userId) return;
    this.#told = { actor, at: performance.now() };
    this.#events = joined(this.#events, events);
    this.write();
    this.#ask(events.some(({ what }) => what === 'entry'));
  }

  write() {
    if (!this.#told) return;
    const { actor } = this.#told;
    find('user-found').hidden = false;
    find('activate').hidden = actor !== null;
    this.#draw();
    const [here, ...elsewhere] = this.#nodes?.nodes ?? [];
    writeInside(actor, elsewhere.some(({ resident }) => resident));
    writePending(actor?.pending);
    this.#count();
    writeSessions(actor?.sessions ?? [], here && elsewhere);
    if (this.#nodes) writeUserNodes(this.#nodes);
    writeHappenings(this.#events);
    if (this.#history.isKnown) writeEntries(this.#history.entries);
  }

  #draw() {
    if (!canDraw()) return;
    this.#timeline ??= new Rows(find('timeline'), 'timeline', ['entry', 'push', 'shown'], 'noHappenings');
    const { points, links } = arrange(this.#events);
    this.#timeline.fill(points, links);
  }

  rename() {
    this.#timeline?.rename();
    this.write();
  }

  #forget() {
    [this.#userId, this.#told, this.#events] = [null, null, []];
    this.#history = unread();
    [this.#nodes, this.#nodesAsked, this.#nodesTold] = [null, -NODES_MS, -Infinity];
    find('user-found').hidden = true;
    find('order-outcome').textContent = find('user-error').textContent = '';
  }

  #count() {
    writeCountdown(this.#told?.actor?.pending, performance.now() - this.#told?.at);
  }

  /** Asks all nodes for the user; one that does not answer takes a second. */
  async #askNodes() {
    const id = this.#userId;
    if (id === null || !this.#isOneOfMany) return;
    const asked = (this.#nodesAsked = performance.now());
    let found;
    try {
      found = await get(`actors/${id}`);
    } catch (error) {
      // What else is wrong, the stream tells.
      if (error.status !== 404) return;
      // No node has it in memory.
      found = { nodes: [], not_heard_of: error.problem?.not_heard_of ?? [] };
    }
    // Another user stands there, or a later question was answered first.
    if (id !== this.#userId || asked < this.#nodesTold) return;
    this.#nodesTold = asked;
    this.#nodes = found;
    this.write();
    this.#ask(false);
  }

  /** Reads the last entries when what was read is not what is, here or at another node. */
  async #ask(isNew) {
    const history = this.#history;
    const versions = [this.#told?.actor, ...(this.#nodes?.nodes ?? [])].map((one) => one?.version ?? null);
    const version = versions.reduce((most, one) => (one > most ? one : most), null);
    if (isNew || version !== history.version) history.isOld = true;
    if (!history.isOld || history.isAsked || performance.now() < history.notBefore) return;
    Object.assign(history, { isOld: false, isAsked: true, version });
    try {
      history.entries = (await get(`actors/${this.#userId}/entries?limit=${ENTRIES}`)).entries;
    } catch {
      // Nor may a ledger that is away hide what memory knows.
      Object.assign(history, { entries: null, isOld: true, notBefore: performance.now() + AGAIN_MS });
    }
    Object.assign(history, { isAsked: false, isKnown: true });
    if (history === this.#history) this.write();
  }

  async #activate() {
    const id = this.#userId;
    try {
      await get(`actors/${id}?activate=true`);
      find('user-error').textContent = '';
    } catch (error) {
      if (id === this.#userId) find('user-error').textContent = explain(error);
    }
  }
}
