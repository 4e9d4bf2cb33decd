// One connection for all tabs of a user, in the shape of a WebSocket. The tab that holds the lock leads: it has the real
// socket and passes every frame on. No token ever leaves its tab. Loaded by balance-client.js when it is needed.

const ANSWER_MS = 1_500;
const CONNECT_TIMEOUT_MS = 10_000;
const HANDOVER_MS = 100;
// A follower in sight asks the leader this often whether it still runs, and doubts it after two asks without an answer.
const ASK_MS = 800;
const UNANSWERED_MAX = 2;
const nowMs = () => performance.timeOrigin + performance.now();
const suspecting = new WeakSet(); // pages whose leader was silent or behind: they take the lock next time

/**
 * A shared socket, or undefined where the browser has no means for it. `connect(env, url)` makes the real one, and `unused`
 * is called when another tab has one.
 */
export function open(env, url, key, connect, unused) {
  try {
    return key && env.navigator.locks && new SharedSocket(env, url, key, connect, unused);
  } catch {}
}

class SharedSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onsilence = null; // the leader does not answer, and is being replaced, or its place was taken and there is no connection yet
  beganMs; // when the real socket of the current frame was opened
  #env;
  #url;
  #name;
  #channel;
  #connect;
  #unused;
  #id = Math.random();
  #isOver = false;
  #auth = null;
  #timer;
  #asking;
  #release = () => {};
  #isLeader = false;
  #isAnswered = false;
  #unanswered = 0;
  #unsureMs = Infinity; // since when it asks, in sight, and hears of no connection
  #isSilent = false; // nothing came since the last ping
  #isTelling = false;
  #socket = null; // the leader's
  #replay = []; // what a tab that comes later has to hear first
  #displayed = -1;
  #leader = null; // who has told last that it leads: one that is replaced while it is frozen goes on when it thaws

  constructor(env, url, key, connect, unused) {
    this.#env = env;
    this.#url = url;
    this.#connect = connect;
    this.#unused = unused;
    this.#name = `balance-client 2 ${url} ${key}`;
    this.#channel = new env.BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    Promise.resolve().then(() => this.#isOver || this.onopen?.());
  }

  send(message) {
    const { type } = message;
    if (type !== 'auth') {
      if (type === 'ping') this.#isSilent = true;
      if (this.#isLeader) this.#forward(message);
      else this.#channel.postMessage({ forward: message });
      if (type === 'ping') this.#ask();
      return;
    }
    const isFirst = this.#auth === null;
    this.#auth = message;
    if (!isFirst) return this.#isLeader && this.#forward(message);
    this.#queue(suspecting.delete(this.#env));
    this.#channel.postMessage({ call: this.#id });
    // A frozen tab holds the lock and does not answer.
    this.#later(ANSWER_MS, () => this.#isAnswered || this.#queue(true));
  }

  // Given up in the middle of a frame: the client does not believe it. A page that stops the client believes it.
  close(_code, isGivenUp) {
    if (isGivenUp && (this.#isSilent || this.#isTelling)) suspecting.add(this.#env);
    this.#end();
  }

  #post(message) {
    this.#channel.postMessage({ ...message, from: this.#id });
  }

  #later(ms, task) {
    this.#env.clearTimeout(this.#timer);
    this.#timer = this.#env.setTimeout(task, ms);
  }

  #end() {
    this.#isOver = true;
    this.#env.clearTimeout(this.#timer);
    this.#env.clearTimeout(this.#asking);
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
    if (this.#isOver) return;
    // A leader whose own token was refused leaves the lead to the next tab; other ends are the connection's, and so all tabs'.
    if (this.#isLeader && code !== 4501) {
      this.#post({ close: { code, reason } });
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
      if (!this.#isOver) this.#post({ lead: false });
      this.#fail(1006, 'taken_over');
    });
  }

  #lead() {
    this.#isLeader = true;
    this.beganMs = nowMs();
    this.#post({ lead: true });
    this.#env.clearTimeout(this.#asking);
    // The tabs of one that is gone go on showing their balance as live, but not for long without a connection, and no longer
    // because it hung before.
    const doubtMs = Math.min(Math.max(0, this.#unsureMs + UNANSWERED_MAX * ASK_MS - this.beganMs), ANSWER_MS);
    if (this.#isAnswered) this.#asking = this.#env.setTimeout(() => this.#doubt(), doubtMs);
    this.#later(CONNECT_TIMEOUT_MS, () => this.#fail(1006, 'timeout'));
    try {
      const socket = (this.#socket = this.#connect(this.#env, this.#url));
      const current = (task) => (event) => this.#socket === socket && task(event);
      socket.onopen = current(() => socket.send(this.#auth));
      socket.onmessage = current(({ frame, ids }) => this.#spread(frame, ids));
      socket.onclose = current(({ code, reason }) => this.#fail(code, reason));
    } catch {
      this.#fail(1006, '');
    }
  }

  #spread(frame, ids) {
    this.#remember(frame);
    if (!this.#isWaiting) {
      this.#env.clearTimeout(this.#timer);
      this.#env.clearTimeout(this.#asking);
    }
    this.#post({ frames: [frame], ids, beganMs: this.beganMs });
    this.#deliver([frame], ids);
  }

  // Greeted is not yet told: the balance may take its time.
  get #isWaiting() {
    return this.#replay.length < 2;
  }

  #remember(frame) {
    const [hello, state] = this.#replay;
    const { type, user_id, epoch, version, balances, committed_at, as_of = committed_at, stale = false } = frame;
    if (type === 'hello') {
      this.#displayed = -1;
      this.#replay = [frame];
    } else if (frame.code === 'ledger_unavailable') {
      this.#replay = [hello, state, frame].filter(Boolean);
    } else if (balances) {
      this.#replay = [hello, { type: 'balance', reason: 'snapshot', user_id, epoch, version, balances, as_of, stale }].filter(Boolean);
    }
  }

  #deliver(frames, ids) {
    this.#isSilent = false;
    this.#isTelling = true;
    for (const frame of frames) this.onmessage?.({ frame, ids });
    this.#isTelling = false;
  }

  #forward(message) {
    const { type, version } = message;
    if (type === 'displayed') {
      if (version <= this.#displayed) return;
      this.#displayed = version;
    }
    this.#socket?.send(message);
  }

  // A tab whose process hangs keeps its lock, so the lock does not tell. While this page hangs itself, it counts nothing.
  #ask() {
    if (this.#isLeader || this.#isOver) return;
    this.#env.clearTimeout(this.#asking);
    if (this.#env.document?.visibilityState === 'hidden' || !this.#isAnswered) {
      this.#unanswered = 0;
      this.#unsureMs = Infinity;
    } else if (this.#unanswered >= UNANSWERED_MAX) return this.#replaceLeader();
    else {
      this.#unanswered += 1;
      this.#unsureMs = Math.min(this.#unsureMs, nowMs());
      this.#channel.postMessage({ ask: this.#id });
    }
    this.#asking = this.#env.setTimeout(() => this.#ask(), ASK_MS);
  }

  #replaceLeader() {
    this.#unanswered = 0;
    this.#isAnswered = false;
    this.#queue(true);
    this.onsilence?.();
  }

  #doubt() {
    this.#post({ doubt: true });
    this.onsilence?.();
  }

  // Pages of versions before this one do not say who they are.
  #hear({ call, ask, answer, isWaiting, forward, frames, ids, beganMs, to = this.#id, close, doubt, lead, from }) {
    if (this.#isLeader) {
      if (call) this.#post({ frames: this.#replay, beganMs: this.beganMs, to: call });
      if (ask) this.#post({ answer: true, isWaiting: this.#isWaiting, to: ask });
      if (forward) this.#forward(forward);
    } else if (lead !== undefined) {
      if (lead) this.#leader = from;
      else if (this.#leader === from) this.#leader = null;
    } else if (this.#auth !== null && to === this.#id && (from === undefined || from === (this.#leader ??= from))) {
      if (frames || answer) this.#unanswered = 0;
      if (frames?.length || (answer && !isWaiting)) this.#unsureMs = Infinity;
      else if (answer && nowMs() - this.#unsureMs > ANSWER_MS) this.onsilence?.();
      if (frames) this.#follow(frames, ids, beganMs);
      else if (close) this.#fail(close.code, close.reason);
      else if (doubt) this.onsilence?.();
    }
  }

  #follow(frames, ids, beganMs) {
    const isFirst = !this.#isAnswered;
    this.#isAnswered = true;
    this.#unused();
    this.beganMs = beganMs;
    if (isFirst) this.#ask();
    this.#deliver(frames, ids);
  }
}
