// A service as a browser sees it: sessions over fake sockets, and /api/v1/balance. One user has one balance, in TON.

const LATENCY_MS = 5;

export const token = (userId, expiresAtMs, serial = 0) => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { sub: String(userId), exp: Math.floor(expiresAtMs / 1000), jti: serial };
  return [part({ alg: 'HS256' }), part(claims), 'signature'].join('.');
};

const claimsOf = (text) => JSON.parse(Buffer.from(text.split('.')[1], 'base64url').toString());
const ton = (nano) => `${nano / 1_000_000_000n}.${String(nano % 1_000_000_000n).padStart(9, '0')}`;

export class Server {
  #clock;
  epoch = 'e1';
  accounts = new Map(); // by user id: { version, nano }
  sessions = new Set();
  sockets = []; // every socket that was ever made
  requests = []; // every HTTP request
  messages = []; // every message of a client
  isDown = false; // nothing can be reached
  isLedgerAway = false;
  isMute = false; // takes connections and messages, says nothing
  isWsBlocked = false;
  refused = new Set(); // tokens
  perS = 20; // messages of a session
  burst = 40;
  thrownOff = 0; // sessions that sent too fast
  heartbeatMs = 25_000;
  retryAfter = null;
  httpLatencyMs = LATENCY_MS;
  snapshotDelay = () => 0; // after hello
  clientCache = { ttl_ms: 60_000, stale_while_revalidate_ms: 30_000, min_age_ms: 3_000 };
  initDataUsers = new Map();
  /** When a frame arrives: once for each delay. A test may lose, repeat and reorder frames here. */
  delays = () => [LATENCY_MS];

  constructor(clock) {
    this.#clock = clock;
  }

  get openSockets() {
    return this.sockets.filter((socket) => socket.readyState < 2);
  }

  sent(type) {
    return this.messages.filter((message) => message.type === type);
  }

  account(userId) {
    if (!this.accounts.has(userId)) this.accounts.set(userId, { version: 0, nano: 0n });
    return this.accounts.get(userId);
  }

  later(ms, task) {
    this.#clock.setTimeout(task, ms);
  }

  get now() {
    return new Date(this.#clock.wallMs).toISOString();
  }

  state(userId) {
    const { version, nano } = this.account(userId);
    return { user_id: userId, epoch: this.epoch, version, balances: { TON: ton(nano) }, as_of: this.now, stale: this.isLedgerAway };
  }

  /** An entry is committed, and pushed to the user's sessions. */
  commit(userId, nano, { push = true } = {}) {
    const account = this.account(userId);
    account.version += 1;
    account.nano += BigInt(nano);
    const frame = this.update(userId, nano);
    if (push) for (const session of this.sessions) if (session.userId === userId && !session.isWaiting) session.tell(frame);
    return account.version;
  }

  /** What a push says it changed, for an entry of so much. */
  changesOf = (nano) => nano;

  update(userId, entryNano) {
    const nano = this.changesOf(entryNano);
    const { as_of, stale, ...state } = this.state(userId);
    const times = { first_committed_at: as_of, committed_at: as_of, pushed_at: as_of };
    const changes = { TON: nano < 0 ? `-${ton(-BigInt(nano))}` : ton(BigInt(nano)) };
    return { type: 'balance_update', ...state, changes, sources: ['deposit'], entries: 1, mode: 'direct', ...times };
  }

  /** The ledger was restored: another epoch, an older version. */
  restore(epoch, userId, version, nano) {
    this.closeAll(1001, 'going_away');
    this.epoch = epoch;
    this.accounts.set(userId, { version, nano: BigInt(nano) });
  }

  closeAll(code, reason) {
    for (const session of [...this.sessions]) session.end(code, reason);
  }

  isGood(text) {
    return !this.refused.has(text) && claimsOf(text).exp * 1000 > this.#clock.wallMs;
  }

  userOf(message) {
    if (message.init_data !== undefined) return this.initDataUsers.get(message.init_data);
    return this.isGood(message.token) ? Number(claimsOf(message.token).sub) : undefined;
  }

  /** The limits of the service: a bucket of messages for each session. Beyond it one error, then the end. */
  isTooFast(socket, message) {
    const now = this.#clock.nowMs;
    const { left = this.burst, atMs = now } = socket.bucket ?? {};
    const filled = Math.min(this.burst, left + ((now - atMs) * this.perS) / 1_000);
    socket.bucket = { left: Math.max(0, filled - 1), atMs: now };
    if (filled >= 1) return false;
    if (socket.isWarned) {
      this.thrownOff += 1;
      socket.end(4429, 'too_fast');
    } else socket.tell({ type: 'error', code: 'rate_limited', message: 'slower', retry_after_ms: 1_000, id: message.id });
    socket.isWarned = true;
    return true;
  }

  receive(socket, message) {
    this.messages.push({ ...message, socket });
    if (this.isMute || this.isTooFast(socket, message)) return;
    if (message.type === 'auth') return this.authenticate(socket, message);
    if (!socket.userId) return;
    if (message.type === 'ping') socket.tell({ type: 'pong', id: message.id });
    if (message.type === 'refresh') this.refresh(socket, message.id);
  }

  refresh(socket, id) {
    if (socket.readyState !== 1) return;
    if (socket.isWaiting) this.later(100, () => this.refresh(socket, id));
    else socket.tell({ type: 'balance', reason: 'refresh', id, ...this.state(socket.userId) });
  }

  authenticate(socket, message) {
    const userId = this.userOf(message);
    if (!userId || (socket.userId && socket.userId !== userId)) return socket.end(4501, 'unauthenticated');
    if (socket.userId) return;
    socket.userId = userId;
    this.sessions.add(socket);
    const policy = { client_cache: this.clientCache, pacing: { debounce_ms: 1500, min_interval_ms: 5000 } };
    const hello = { session_id: '1', user_id: userId, epoch: this.epoch, protocol: 'balance.v1', heartbeat_ms: this.heartbeatMs };
    socket.tell({ type: 'hello', ...hello, ...policy });
    const delayMs = this.snapshotDelay();
    socket.isWaiting = delayMs > 0; // nothing is pushed meanwhile
    if (!delayMs) return this.tellSnapshot(socket);
    this.later(delayMs, () => socket.readyState === 1 && this.tellSnapshot(socket));
  }

  tellSnapshot(socket) {
    socket.isWaiting = false;
    if (this.isLedgerAway === 'unknown') {
      socket.tell({ type: 'error', code: 'ledger_unavailable', message: 'away', retry_after_ms: 1000 });
    } else {
      socket.tell({ type: 'balance', reason: 'snapshot', ...this.state(socket.userId) });
    }
  }

  /** `fetch` of a page; what it answers is decided when the request arrives. */
  fetch(page, url, { headers = {}, signal } = {}) {
    this.requests.push({ url, headers });
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason));
      this.later(LATENCY_MS, () => {
        const answer = this.answer(headers.authorization);
        this.later(this.httpLatencyMs, () => page(() => (answer ? resolve(answer) : reject(new TypeError('Failed to fetch')))));
      });
    });
  }

  answer(authorization) {
    if (this.isDown) return null;
    const reply = (status, body, extra = {}) => new Response(JSON.stringify(body), { status, headers: extra });
    const [scheme, secret] = authorization.split(' ');
    const userId = this.userOf(scheme === 'tma' ? { init_data: secret } : { token: secret });
    if (!userId) return reply(401, { code: 'unauthorized', detail: 'no good token' });
    if (this.retryAfter) return reply(503, { code: 'overloaded', detail: 'later' }, { 'retry-after': this.retryAfter });
    if (this.isLedgerAway === 'unknown') return reply(503, { code: 'ledger_unavailable', detail: 'away' });
    return reply(200, this.state(userId));
  }

  /** The WebSocket class of a page. `page` runs a task there. */
  socketClass(page) {
    const server = this;
    return class FakeSocket {
      readyState = 0;
      userId = null;
      constructor(url, protocol) {
        Object.assign(this, { url, protocol });
        server.sockets.push(this);
        server.later(LATENCY_MS, () => {
          if (this.readyState !== 0) return;
          if (server.isDown || server.isWsBlocked) return this.end(1006, '');
          this.readyState = 1;
          page(() => this.onopen?.({}));
        });
      }
      send(text) {
        if (this.readyState === 0) throw new Error('InvalidStateError');
        if (this.readyState !== 1) return;
        const message = JSON.parse(text);
        server.later(LATENCY_MS, () => !server.isDown && this.readyState === 1 && server.receive(this, message));
      }
      close() {
        this.end(1000, '');
      }
      tell(frame) {
        const data = typeof frame === 'string' ? frame : JSON.stringify(frame);
        for (const delayMs of server.delays(data)) {
          server.later(delayMs, () => this.readyState === 1 && page(() => this.onmessage?.({ data })));
        }
      }
      end(code, reason) {
        if (this.readyState > 1) return;
        this.readyState = 2;
        server.sessions.delete(this);
        server.later(LATENCY_MS, () => {
          this.readyState = 3;
          page(() => this.onclose?.({ code, reason }));
        });
      }
    };
  }
}
