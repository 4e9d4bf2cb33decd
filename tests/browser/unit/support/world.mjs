// What a test needs: a clock, a service, a browser, and clients in its tabs.

import { BalanceClient } from '../../../../src/web/client/balance-client.js';
import '../../../../src/web/client/tabs.js'; // so that loading it takes no real time
import { Browser } from './browser.mjs';
import { Clock } from './clock.mjs';
import { Server, token } from './server.mjs';

export const USER = 184;
export const OTHER_USER = 185;
export const TON = 1_000_000_000;

/** The same numbers for the same seed (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class World {
  clients = [];
  serial = 0;

  constructor(t, { random = randomFrom(1) } = {}) {
    this.clock = new Clock();
    this.server = new Server(this.clock);
    this.browser = new Browser(this.clock, this.server);
    t.mock.method(performance, 'now', () => this.clock.nowMs);
    t.mock.method(Date, 'now', () => this.clock.wallMs);
    t.mock.method(Math, 'random', random);
    t.after(() => this.clients.forEach((client) => client.stop()));
  }

  token(userId = USER, ttlMs = 3_600_000) {
    return token(userId, this.clock.wallMs + ttlMs, ++this.serial);
  }

  /** A client in a tab of its own; `states` collects what a listener was shown. */
  client({ tab = this.browser.tab({ hasLocks: false }), as = USER, ttlMs, ...options } = {}) {
    const secret = options.getInitData ? {} : { getToken: () => this.token(as, ttlMs) };
    const client = new BalanceClient({ url: 'https://balance.example', env: tab.env, ...secret, ...options });
    const states = [];
    client.subscribe((state) => states.push(state));
    this.clients.push(client);
    return Object.assign(client, { states, tab });
  }

  /** A client that is started and live. */
  async live(options) {
    const client = this.client(options);
    client.start();
    await this.advance(100);
    return client;
  }

  /** A client that is started, and gets no WebSocket: it has HTTP alone. */
  async blocked(options) {
    this.server.isWsBlocked = true;
    const client = this.client(options);
    client.start();
    await this.advance(50);
    return client;
  }

  /** The end of all connections, after which nobody gets another. */
  async cutOff() {
    this.server.isWsBlocked = true;
    this.server.closeAll(1001, 'going_away');
    await this.advance(10);
  }

  advance(ms) {
    return this.clock.advance(ms);
  }
}
