// One connection for all tabs of a user, in the shape of a WebSocket. The tab that holds the lock leads: it has the real
// socket and passes every frame on. No token ever leaves its tab. Loaded by balance-client.js when it is needed.

const LEADER_TIMEOUT_MS = 3_000;
const CONNECT_TIMEOUT_MS = 10_000;
const HANDOVER_MS = 100;
const suspecting = new WeakSet(); // pages whose leader was silent or behind: they take the lock next time

/** A shared socket, or undefined where the browser has no means for it. */
export function open(env, url, key) {
  try {
    return key && env.navigator.locks && new SharedSocket(env, url, key);
  } catch {}
}

class SharedSocket {
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  beganMs; // when the real socket of the frame that is told was opened
  #env;
  #url;
  #name;
  #channel;
  #id = Math.random();
  #auth = null;
  #timer;
  #release = () => {};
  #isLeader = false;
  #isAnswered = false;
  #isSilent = false; // nothing came since the last ping
  #isTelling = false;
  #socket = null; // the leader's
  #replay = []; // what a tab that comes later has to hear first
  #displayed = -1;

  constructor(env, url, key) {
    this.#env = env;
    this.#url = url;
    this.#name = `balance-client 1 ${url} ${key}`;
    this.#channel = new env.BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    Promise.resolve().then(() => {
      if (this.readyState > 1) return;
      this.readyState = 1;
      this.onopen?.();
    });
  }

  send(text) {
    const { type } = JSON.parse(text);
    if (type === 'ping') this.#isSilent = true;
    if (type !== 'auth') return this.#isLeader ? this.#forward(text) : this.#channel.postMessage({ forward: text });
    const isFirst = this.#auth === null;
    this.#auth = text;
    if (!isFirst) return this.#isLeader && this.#forward(text);
    this.#queue(suspecting.delete(this.#env));
    this.#channel.postMessage({ call: this.#id });
    // A frozen tab holds the lock and does not answer.
    this.#later(LEADER_TIMEOUT_MS, () => this.#isAnswered || this.#queue(true));
  }

  close() {
    // Closed in the middle of a frame: the client does not believe it.
    if (this.#isSilent || this.#isTelling) suspecting.add(this.#env);
    this.#end();
  }

  #later(ms, task) {
    this.#env.clearTimeout(this.#timer);
    this.#timer = this.#env.setTimeout(task, ms);
  }

  #end() {
    this.readyState = 3;
    this.#env.clearTimeout(this.#timer);
    this.#dropSocket();
    this.#release();
    this.#channel.close();
  }

  #dropSocket() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #fail(code, reason) {
    if (this.readyState > 1) return;
    // What befell this tab's own token is not the others' concern: the next one leads.
    if (this.#isLeader && code !== 4501) {
      this.#channel.postMessage({ close: { code, reason } });
      // The others must hear of it before one of them gets the lock.
      const release = this.#release;
      this.#release = () => {};
      this.#env.setTimeout(release, HANDOVER_MS);
    }
    this.#end();
    this.onclose?.({ code, reason });
  }

  #queue(steal) {
    this.#release();
    const waiting = new AbortController();
    const { signal } = waiting;
    let letGo;
    this.#release = () => {
      waiting.abort();
      letGo?.();
    };
    const hold = () =>
      new Promise((resolve) => {
        letGo = resolve;
        if (signal.aborted) resolve();
        else this.#lead();
      });
    this.#env.navigator.locks.request(this.#name, steal ? { steal } : { signal }, hold).catch((error) => {
      if (signal.aborted) return;
      if (error.name !== 'AbortError') return this.#lead(); // no locks here: this tab is on its own
      this.#isLeader = false; // another tab has taken the lock, and leads the others
      this.#fail(1006, 'taken_over');
    });
  }

  #lead() {
    this.#isLeader = true;
    this.beganMs = performance.timeOrigin + performance.now();
    this.#later(CONNECT_TIMEOUT_MS, () => this.#fail(1006, 'timeout'));
    try {
      const socket = (this.#socket = new this.#env.WebSocket(this.#url, 'balance.v1'));
      const current = (task) => (event) => this.#socket === socket && task(event);
      socket.onopen = current(() => socket.send(this.#auth));
      socket.onmessage = current(({ data }) => this.#spread(data));
      socket.onclose = current(({ code, reason }) => this.#fail(code, reason));
    } catch (error) {
      this.#fail(1006, error.message);
    }
  }

  #spread(data) {
    this.#env.clearTimeout(this.#timer);
    try {
      this.#remember(data, JSON.parse(data));
    } catch {} // what is no frame is the client's to ignore
    this.#channel.postMessage({ frames: [data], beganMs: this.beganMs });
    this.#deliver([data]);
  }

  #remember(data, frame) {
    const [hello, state] = this.#replay;
    const { type, user_id, epoch, version, balances, committed_at, as_of = committed_at, stale = false } = frame;
    if (type === 'hello') {
      this.#displayed = -1;
      this.#replay = [data];
    } else if (frame.code === 'ledger_unavailable') {
      this.#replay = [hello, state, data].filter(Boolean);
    } else if (balances) {
      const snapshot = { type: 'balance', reason: 'snapshot', user_id, epoch, version, balances, as_of, stale };
      this.#replay = [hello, JSON.stringify(snapshot)];
    }
  }

  #deliver(frames) {
    this.#isSilent = false;
    this.#isTelling = true;
    for (const data of frames) this.onmessage?.({ data });
    this.#isTelling = false;
  }

  #forward(text) {
    const { type, version } = JSON.parse(text);
    if (type === 'displayed') {
      if (version <= this.#displayed) return;
      this.#displayed = version;
    }
    if (this.#socket?.readyState === 1) this.#socket.send(text);
  }

  #hear({ call, forward, frames, beganMs, to = this.#id, close }) {
    if (this.#isLeader) {
      if (call) this.#channel.postMessage({ frames: this.#replay, beganMs: this.beganMs, to: call });
      if (forward) this.#forward(forward);
    } else if (this.#auth !== null && to === this.#id) {
      if (frames) {
        this.#isAnswered = true;
        this.beganMs = beganMs;
        this.#deliver(frames);
      } else if (close) this.#fail(close.code, close.reason);
    }
  }
}
