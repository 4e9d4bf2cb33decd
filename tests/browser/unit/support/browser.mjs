// A browser with tabs: channels between them, locks, storage; a tab can be hidden, frozen and closed.

export class MemoryStorage {
  items = new Map();
  getItem = (name) => this.items.get(name) ?? null;
  setItem = (name, text) => void this.items.set(name, text);
  removeItem = (name) => void this.items.delete(name);
}

const abortError = () => new DOMException('aborted', 'AbortError');

export class Browser {
  channels = new Set();
  locks = new Map(); // by name: { holder, waiting: [] }

  constructor(clock, server) {
    Object.assign(this, { clock, server });
  }

  tab(options) {
    return new Tab(this, options);
  }

  request(tab, name, { signal, steal = false }, task) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError());
      const lock = this.locks.get(name) ?? { holder: null, waiting: [] };
      this.locks.set(name, lock);
      const request = { tab, task, resolve, reject: (error) => tab.run(() => reject(error)) };
      signal?.addEventListener('abort', () => {
        if (!lock.waiting.includes(request)) return;
        lock.waiting = lock.waiting.filter((one) => one !== request);
        request.reject(abortError());
      });
      if (steal && lock.holder) {
        lock.holder.reject(abortError());
        lock.holder = null;
      }
      if (steal) lock.waiting.unshift(request);
      else lock.waiting.push(request);
      this.grant(lock);
    });
  }

  held() {
    return [...this.locks].filter(([, { holder }]) => holder).map(([name]) => ({ name }));
  }

  grant(lock) {
    if (lock.holder || !lock.waiting.length) return;
    const request = (lock.holder = lock.waiting.shift());
    this.clock.setTimeout(() => {
      if (lock.holder !== request) return;
      request.tab.run(() => {
        Promise.resolve(request.task({})).then((value) => this.release(lock, request, value), request.reject);
      });
    }, 0);
  }

  release(lock, request, value) {
    request.resolve(value);
    if (lock.holder !== request) return;
    lock.holder = null;
    this.grant(lock);
  }
}

export class Tab {
  isFrozen = false;
  isClosed = false;
  #queued = [];
  cleared = new Set();
  frames = []; // waiting for an animation frame

  constructor(browser, { isVisible = true, hasLocks = true } = {}) {
    this.browser = browser;
    const { clock, server } = browser;
    const run = (task) => this.run(task);
    const window = new EventTarget();
    this.document = Object.assign(new EventTarget(), { visibilityState: isVisible ? 'visible' : 'hidden' });
    this.telegram = new Map();
    this.errors = [];
    this.env = {
      addEventListener: window.addEventListener.bind(window),
      dispatchEvent: window.dispatchEvent.bind(window),
      document: this.document,
      location: { href: 'https://app.example/page' },
      setTimeout: (task, ms) => {
        // A frozen tab's timer that is due may still be cleared.
        const id = clock.setTimeout(() => run(() => this.cleared.has(id) || task()), ms);
        return id;
      },
      clearTimeout: (id) => {
        this.cleared.add(id);
        clock.clearTimeout(id);
      },
      requestAnimationFrame: (task) => this.frames.push(task),
      fetch: (url, init) => server.fetch(run, url, init),
      WebSocket: server.socketClass(run),
      reportError: (error) => this.errors.push(error),
      Telegram: {
        WebApp: {
          onEvent: (type, task) => this.telegram.set(type, task),
          offEvent: (type) => this.telegram.delete(type),
        },
      },
    };
    if (hasLocks) {
      const request = (name, options, task) => browser.request(this, name, options, task);
      this.env.navigator = { locks: { request, query: async () => ({ held: browser.held(), pending: [] }) } };
      this.env.BroadcastChannel = channelClass(this);
    }
  }

  run(task) {
    if (this.isClosed) return;
    if (this.isFrozen) this.#queued.push(task);
    else task();
  }

  fire(type) {
    this.run(() => this.env.dispatchEvent(new Event(type)));
  }

  show() {
    this.document.visibilityState = 'visible';
    this.run(() => this.document.dispatchEvent(new Event('visibilitychange')));
  }

  hide() {
    this.document.visibilityState = 'hidden';
    this.run(() => this.document.dispatchEvent(new Event('visibilitychange')));
  }

  paint() {
    for (const task of this.frames.splice(0)) this.run(task);
  }

  freeze() {
    this.isFrozen = true;
  }

  thaw() {
    this.isFrozen = false;
    for (const task of this.#queued.splice(0)) this.run(task);
  }

  /** As a browser: what a task has settled is settled before the next task. */
  async thawSlowly() {
    while (this.#queued.length) {
      this.#queued.shift()();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.thaw();
  }

  /** The tab is gone without a word: a crash. The browser takes its locks and connections. */
  crash() {
    this.isClosed = true;
    const { channels, locks, server } = this.browser;
    for (const channel of channels) if (channel.tab === this) channels.delete(channel);
    for (const lock of locks.values()) {
      lock.waiting = lock.waiting.filter((request) => request.tab !== this);
      if (lock.holder?.tab === this) this.browser.release(lock, lock.holder);
    }
    for (const socket of server.openSockets) if (socket instanceof this.env.WebSocket) socket.end(1006, '');
    this.env.WebSocket = undefined; // what it was about to do, it does no more
  }
}

function channelClass(tab) {
  const { browser } = tab;
  return class FakeChannel {
    constructor(name) {
      Object.assign(this, { name, tab });
      browser.channels.add(this);
    }
    postMessage(message) {
      if (!browser.channels.has(this)) throw new DOMException('closed', 'InvalidStateError');
      const data = structuredClone(message);
      const others = [...browser.channels].filter((channel) => channel !== this && channel.name === this.name);
      for (const channel of others) {
        browser.clock.setTimeout(() => channel.tab.run(() => browser.channels.has(channel) && channel.onmessage?.({ data })), 1);
      }
    }
    close() {
      browser.channels.delete(this);
    }
  };
}
