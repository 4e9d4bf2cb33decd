// One user's balance, live (see balance-client.d.ts). All answers go through `#adopt`, all changes through `#set`.

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 20_000;
const TIMEOUT_MS = 10_000;
const STABLE_MS = 10_000;
const RENEW_RETRY_MS = 5_000;
const POLICY = { ttl_ms: 60_000, stale_while_revalidate_ms: 30_000, min_age_ms: 3_000 };
const NOTHING = { userId: null, balances: null, version: null, epoch: null, asOf: null, isStale: true, error: null, lastUpdate: null };

const nowMs = () => performance.timeOrigin + performance.now(); // other tabs have the same

export class BalanceError extends Error {
  constructor(code, message = code) {
    super(message);
    this.code = code;
  }
}

export class BalanceClient {
  #options;
  #env;
  #base;
  #key = null;
  #state = { status: 'closed', ...NOTHING };
  #listeners = new Set();
  #run = null; // new with each start: who holds another is late
  #timers = new Map();
  #policy = POLICY;
  #forgotten = 0;
  #adoptedMs = -Infinity; // the epoch
  #confirmedMs = -Infinity;
  #readMs = -Infinity;
  #reading;
  #refreshing;
  #nextRefresh;
  #isPainting = false;

  constructor(options) {
    const { url = '/', getToken, getInitData, env = globalThis } = options;
    if (!getToken === !getInitData) throw new TypeError('getToken or getInitData?');
    this.#options = options;
    this.#env = env;
    this.#base = new URL(url, env.location?.href ?? 'http://localhost').href.replace(/^ws/, 'http').replace(/\/(ws)?$/, '');
  }

  get current() {
    return this.#state;
  }

  getSnapshot = () => this.#state;

  subscribe = (listener) => {
    const tell = () => listener(this.#state);
    this.#listeners.add(tell);
    return () => this.#listeners.delete(tell);
  };

  start() {
    if (this.#run) return;
    const env = this.#env;
    const telegram = env.Telegram?.WebApp;
    const abort = new AbortController();
    const on = (type, task, target = env) => target?.addEventListener?.(type, task, { signal: abort.signal });
    this.#run = { abort, pending: new Set(), failures: 0, notBeforeMs: 0 };
    on('online', this.#wake);
    on('pageshow', this.#wake);
    on('visibilitychange', () => this.#isVisible() && this.#wake(), env.document);
    on('pagehide', this.#suspend);
    on('offline', () => this.#run.link && this.#lost(1006, 'offline'));
    abort.signal.onabort = () => telegram?.offEvent?.('activated', this.#wake);
    telegram?.onEvent?.('activated', this.#wake);
    this.#set({ status: 'connecting', error: null });
    this.#restore('userId', this.#options.userId);
    this.#connect();
  }

  stop({ forget = true } = {}) {
    this.#end(new BalanceError('closed'));
    this.#forget('closed', forget);
  }

  // One at a time; the next begins after the last call, so it misses nothing.
  refresh() {
    if (this.#state.error) this.start();
    this.#nextRefresh ??= Promise.resolve(this.#refreshing).then(() => {
      this.#nextRefresh = null;
      return (this.#refreshing = this.#refresh());
    });
    return this.#nextRefresh;
  }

  async read() {
    const { ttl_ms, stale_while_revalidate_ms, min_age_ms } = this.#policy;
    const { status, isStale } = this.#state;
    const now = nowMs();
    const age = now - this.#confirmedMs;
    if (!this.#run || (!isStale && (status === 'live' || age < ttl_ms))) return this.#state;
    if (now >= Math.max(this.#readMs + min_age_ms, this.#run.notBeforeMs)) this.#reading = this.#fetch('');
    if (age >= ttl_ms + stale_while_revalidate_ms) await this.#reading;
    return this.#state;
  }

  waitFor(version, { timeoutMs, signal } = {}) {
    let unsubscribe;
    const reached = (resolve) => {
      const check = () => this.#state.version !== null && this.#state.version >= version && !resolve(this.#state);
      unsubscribe = this.subscribe(check);
      if (!check()) this.refresh();
    };
    return this.#bounded(this.#run, async () => new Promise(reached), timeoutMs, signal).finally(() => unsubscribe?.());
  }

  #isVisible() {
    return this.#env.document?.visibilityState !== 'hidden';
  }

  #after(ms, task) {
    return this.#env.setTimeout(task, Math.min(ms, 2 ** 31 - 1));
  }

  #later(name, ms, task) {
    this.#env.clearTimeout(this.#timers.get(name));
    this.#timers.set(name, this.#after(ms, task));
  }

  #cancel() {
    for (const timer of this.#timers.values()) this.#env.clearTimeout(timer);
  }

  // Ends with the task, its time or the run.
  #bounded(run, task, ms = TIMEOUT_MS, signal) {
    return new Promise((resolve, reject) => {
      const abort = new AbortController();
      const finish = (settle) => (value) => {
        this.#env.clearTimeout(timer);
        signal?.removeEventListener('abort', fail);
        run?.pending.delete(fail);
        settle(value);
      };
      const fail = finish((error) => {
        reject(signal?.aborted ? signal.reason : error instanceof BalanceError ? error : new BalanceError('network', error?.message));
        abort.abort();
      });
      const timer = this.#after(ms, () => fail(new BalanceError('timeout')));
      signal?.addEventListener('abort', fail);
      run?.pending.add(fail);
      if (!run || signal?.aborted) fail(new BalanceError('closed'));
      else task(abort.signal).then(finish(resolve), fail);
    });
  }

  #set(patch) {
    const old = this.#state;
    const next = Object.freeze({ ...old, ...patch });
    if (Object.keys(next).every((key) => Object.is(next[key], old[key]))) return;
    this.#state = next;
    for (const tell of this.#listeners) {
      try {
        tell();
      } catch (error) {
        (this.#env.reportError ?? console.error)(error);
      }
    }
    this.#paint();
  }

  // `beganMs`: when its source was asked. A late answer may only raise the version.
  #adopt(value, beganMs, isCurrent = beganMs > this.#confirmedMs, patch) {
    const shown = this.#state;
    const isOther = value.epoch !== shown.epoch;
    if (isOther && beganMs <= this.#adoptedMs) return false;
    if (!isCurrent && !isOther && value.version <= shown.version) return true;
    const isStale = value.isStale || (!isCurrent && shown.isStale);
    const { userId, epoch, version, balances, asOf, lastUpdate = shown.lastUpdate } = value;
    if (isOther || this.#adoptedMs < 0) this.#adoptedMs = nowMs();
    if (!isStale) this.#confirmedMs = nowMs();
    const isBehind = !isOther && version < shown.version;
    const error = isStale ? shown.error : null;
    this.#set({ isStale, error, ...(!isBehind && { userId, epoch, version, balances, asOf, lastUpdate }), ...patch });
    this.#save();
    return true;
  }

  #forget(status, isStored = true) {
    this.#forgotten += 1;
    this.#adoptedMs = this.#confirmedMs = this.#readMs = -Infinity;
    if (isStored) this.#store('removeItem');
    this.#set({ ...NOTHING, status });
  }

  #store(method, ...value) {
    try {
      return this.#options.storage?.[method](`balance-client ${this.#base}`, ...value);
    } catch {}
  }

  #save() {
    const { userId, epoch, version, balances, asOf } = this.#state;
    if (this.#run) this.#store('setItem', JSON.stringify({ key: this.#key, userId, epoch, version, balances, asOf }));
  }

  #restore(field, owner) {
    if (!owner || !this.#run || this.#state.version !== null) return;
    const record = parsed(() => this.#store('getItem'));
    const { userId, epoch, version, balances, asOf } = record;
    if (record[field] !== owner || !isSound(record)) this.#store('removeItem');
    else this.#set({ userId, epoch, version, balances, asOf });
  }

  #paint() {
    const { requestAnimationFrame } = this.#env;
    if (this.#isPainting || this.#state.status !== 'live' || !requestAnimationFrame) return;
    this.#isPainting = true;
    requestAnimationFrame(() => {
      const { userId, epoch, version } = this.#state;
      this.#after(0, () => {
        const link = this.#run?.link;
        const isShown = link?.isLive && userId === link.userId && epoch === link.epoch && this.#isVisible();
        this.#isPainting = false;
        if (isShown && version > link.displayed) this.#send({ type: 'displayed', version: (link.displayed = version) });
        if (this.#state.version !== version) this.#paint();
      });
    });
  }

  async #credential(run) {
    if (run.credential?.untilMs > Date.now() + 5_000) return run.credential;
    run.asking ??= this.#ask(run).finally(() => (run.asking = null));
    return run.asking;
  }

  async #ask(run) {
    const { getToken, getInitData } = this.#options;
    const secret = await this.#bounded(run, async () => (getToken ?? getInitData)());
    if (run !== this.#run) throw new BalanceError('closed');
    if (!secret) {
      const error = new BalanceError('signed_out');
      this.#forget('connecting');
      this.#halt('unauthorized', error);
      throw error;
    }
    run.credential = (getToken ? fromToken : fromInitData)(secret);
    const { key } = run.credential;
    if (this.#key !== null && this.#key !== key) this.#changeUser(run);
    this.#key = key;
    return run.credential;
  }

  #changeUser(run) {
    this.#hangUp(run);
    this.#forget('connecting');
    this.#connect();
  }

  async #refresh() {
    const run = this.#run;
    if (!run) return this.#state;
    const { link } = run;
    if (link?.isLive) {
      const id = Math.random();
      try {
        const answer = new Promise((resolve, reject) => (link.refresh = { id, resolve, reject }));
        this.#send({ type: 'refresh', id });
        await this.#bounded(run, () => answer);
        return this.#state;
      } catch (error) {
        if (!/timeout|connection_lost/.test(error.code)) return this.#state;
      }
    }
    this.#wake();
    return this.#fetch('?fresh=true');
  }

  async #fetch(query) {
    const run = this.#run;
    this.#readMs = nowMs();
    try {
      const credential = await this.#credential(run);
      const beganMs = nowMs();
      const forgotten = this.#forgotten;
      const [response, body] = await this.#bounded(run, async (signal) => {
        const { authorization } = credential;
        // A cache may know another user's balance by this URL.
        const init = { headers: { authorization }, cache: 'no-store', signal };
        const response = await this.#env.fetch(`${this.#base}/api/v1/balance${query}`, init);
        return [response, await response.json().catch(() => ({}))];
      });
      if (run !== this.#run || forgotten !== this.#forgotten) return this.#state;
      if (response.status === 401) run.credential = null;
      run.notBeforeMs = nowMs() + (response.headers.get('retry-after') * 1000 || 0);
      const value = fromFrame(body);
      if (!response.ok || !value) throw new BalanceError(body.code ?? `http_${response.status}`, body.detail);
      if (value.userId !== (credential.userId ?? this.#state.userId ?? value.userId)) this.#changeUser(run);
      else {
        const { epoch } = this.#state;
        if (this.#adopt(value, beganMs) && epoch !== value.epoch && run.link?.isLive) this.#lost(1006, 'epoch_over');
      }
    } catch (error) {
      const { status, isStale } = this.#state;
      if (run && run === this.#run) this.#set({ error, isStale: isStale || status !== 'live' });
    }
    return this.#state;
  }

  async #connect() {
    const run = this.#run;
    const isBusy = () => run !== this.#run || run.isSuspended || run.link;
    if (!run || run.isConnecting || isBusy()) return;
    this.#cancel();
    run.isConnecting = true;
    const loading = this.#options.share === false ? null : import('./tabs.js').catch(() => null);
    let failure;
    const credential = await this.#credential(run).catch((error) => void (failure = error));
    const tabs = await loading;
    run.isConnecting = false;
    if (isBusy()) return;
    if (failure) return this.#retry(failure);
    this.#restore('key', credential.key);
    if (!isBusy()) this.#open(run, credential, tabs);
  }

  #open(run, credential, tabs) {
    const link = { credential, beganMs: nowMs(), isHeard: true };
    const current = (task) => (event) => run.link === link && task(event);
    run.link = link;
    this.#later('link', TIMEOUT_MS, () => link.isLive || this.#lost(1006, 'timeout'));
    try {
      const url = `${this.#base.replace('http', 'ws')}/ws`;
      const socket = tabs?.open(this.#env, url, credential.key) ?? new this.#env.WebSocket(url, 'balance.v1');
      link.socket = socket;
      socket.onopen = current(() => this.#send({ type: 'auth', ...credential.auth }));
      socket.onmessage = current(({ data }) => this.#receive(run, link, data));
      socket.onclose = current(({ code, reason }) => this.#lost(code, reason));
    } catch (error) {
      this.#lost(1006, error.message);
    }
  }

  #send(message) {
    const { socket } = this.#run.link;
    if (socket.readyState === 1) socket.send(JSON.stringify(message));
  }

  #receive(run, link, data) {
    const frame = parsed(() => data);
    const { type, id, code, message, retry_after_ms } = frame;
    link.isHeard = true;
    if (type === 'hello') {
      const { user_id, epoch, client_cache, heartbeat_ms } = frame;
      if (user_id !== (link.credential.userId ?? user_id)) return this.#lost(1006, 'wrong_user');
      Object.assign(link, { userId: user_id, epoch, displayed: -1, heartbeatMs: Math.max(100, heartbeat_ms || 25_000) });
      this.#policy = { ...POLICY, ...client_cache };
      this.#beat(link);
      this.#renewLater(link.credential);
      return user_id === (this.#state.userId ?? user_id) || this.#forget('connecting');
    }
    const value = /^balance(_update)?$/.test(type) && fromFrame(frame);
    const isBalance = value && value.userId === link.userId;
    const isAway = code === 'ledger_unavailable';
    if (!link.isLive && (isBalance || isAway)) {
      link.isLive = true;
      link.liveMs = nowMs();
      run.isRefused = false;
    }
    const refresh = id && link.refresh?.id === id && link.refresh;
    if (isBalance) {
      if (!this.#adopt(value, link.socket.beganMs ?? link.beganMs, true, { status: 'live' })) return this.#lost(1006, 'epoch_over');
      if (refresh) refresh.resolve();
    } else if (type === 'error') {
      const error = new BalanceError(code, message);
      if (retry_after_ms) run.notBeforeMs = nowMs() + retry_after_ms;
      this.#set({ error, ...(isAway && { status: 'live', isStale: true }) });
      if (refresh) refresh.reject(error);
    }
  }

  #beat(link) {
    this.#later('heartbeat', link.heartbeatMs, () => this.#probe(link));
  }

  #probe(link) {
    link.isHeard = false;
    this.#send({ type: 'ping' });
    const judge = () => (link.isHeard ? this.#beat(link) : this.#lost(4408, 'heartbeat_lost'));
    this.#later('heartbeat', Math.min(TIMEOUT_MS, link.heartbeatMs), judge);
  }

  #renewLater({ untilMs }) {
    const leftMs = untilMs - Date.now();
    if (leftMs > 0) this.#later('renew', Math.max(1_000, leftMs - Math.min(60_000, leftMs / 5)), () => this.#renew());
  }

  async #renew() {
    const run = this.#run;
    const { link } = run;
    run.credential = null;
    const credential = await this.#credential(run).catch(() => null);
    if (run !== this.#run || run.link !== link) return;
    if (!credential) return this.#later('renew', RENEW_RETRY_MS, () => this.#renew());
    this.#send({ type: 'auth', ...credential.auth });
    this.#renewLater(credential);
  }

  #lost(code, reason) {
    const run = this.#run;
    const { isLive, liveMs } = run.link;
    const error = new BalanceError(reason || 'connection_lost', `closed with ${code}`);
    if (nowMs() - liveMs >= STABLE_MS) run.failures = 0;
    this.#hangUp(run);
    if (code === 4501) {
      run.credential = null;
      if (run.isRefused) return this.#halt('unauthorized', error);
      run.isRefused = true;
      // At once, but not in circles.
      if (!isLive || !run.failures++) {
        this.#set({ status: 'connecting' });
        return this.#connect();
      }
    } else if (code >= 4500) return this.#halt('closed', error);
    this.#retry(error);
  }

  #hangUp(run) {
    const { link } = run;
    run.link = null;
    this.#cancel();
    link?.socket?.close(1000);
    link?.refresh?.reject(new BalanceError('connection_lost'));
  }

  #retry(error) {
    const run = this.#run;
    const { status, isStale } = this.#state;
    const ms = Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** run.failures++);
    this.#later('retry', Math.max(ms, run.notBeforeMs - nowMs()), () => this.#connect());
    this.#set({ status: 'offline', error, isStale: isStale || status !== 'offline' });
    if (run.failures > 1) this.read();
  }

  #halt(status, error) {
    if (!this.#run) return;
    this.#end(error);
    this.#set({ status, isStale: true, error });
  }

  #end(error) {
    const run = this.#run;
    if (!run) return;
    this.#hangUp(run);
    this.#run = null;
    run.abort.abort();
    for (const fail of run.pending) fail(error);
  }

  #wake = () => {
    const run = this.#run;
    if (!run) return;
    const { link, notBeforeMs } = run;
    run.isSuspended = false;
    if (link) link.isLive && link.isHeard && this.#probe(link);
    else this.#later('retry', Math.max(0, notBeforeMs - nowMs()), () => this.#connect());
    this.#paint();
  };

  #suspend = () => {
    const run = this.#run;
    run.isSuspended = true;
    this.#hangUp(run);
    this.#set({ status: 'offline', isStale: true });
  };
}

// Cuts digits off: it never shows more than there is.
export function format(amount, { locale, minDecimals = 0, maxDecimals = Infinity, ...options } = {}) {
  const [, sign, whole, fraction = ''] = parse(amount);
  const digits = `${whole}.${fraction.slice(0, maxDecimals)}0`;
  const maximumFractionDigits = Math.max(minDecimals, Math.min(fraction.length, maxDecimals));
  const numbers = new Intl.NumberFormat(locale, { ...options, minimumFractionDigits: minDecimals, maximumFractionDigits });
  return numbers.format(/[1-9]/.test(digits) ? sign + digits : digits);
}

export function compare(a, b) {
  const [x, y] = units(a, b);
  return Number(x > y) - Number(x < y);
}

export function add(a, b) {
  const [x, y, decimals] = units(a, b);
  const [, sign, digits] = parse(`${x + y}`);
  const padded = digits.padStart(decimals + 1, '0');
  return sign + (decimals ? `${padded.slice(0, -decimals)}.${padded.slice(-decimals)}` : padded);
}

function parse(amount) {
  const match = typeof amount === 'string' && /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount);
  if (!match) throw new TypeError(`not a decimal string: ${amount}`);
  return match;
}

function units(...amounts) {
  const decimals = Math.max(...amounts.map((amount) => parse(amount)[3]?.length ?? 0));
  const unit = ([, sign, whole, fraction = '']) => BigInt(sign + whole + fraction.padEnd(decimals, '0'));
  return [...amounts.map((amount) => unit(parse(amount))), decimals];
}

function parsed(read) {
  try {
    return JSON.parse(read()) ?? {};
  } catch {
    return {};
  }
}

function isSound({ userId, epoch, version, balances }) {
  const isCount = Number.isSafeInteger(userId) && Number.isSafeInteger(version) && version >= 0;
  return isCount && typeof epoch === 'string' && !!balances && Object.values(balances).every((amount) => typeof amount === 'string');
}

function fromFrame(frame) {
  const { type, user_id: userId, epoch, version, balances, stale, committed_at, as_of: asOf = committed_at } = frame;
  const value = { userId, epoch, version, balances, asOf, isStale: stale === true };
  if (type === 'balance_update') {
    const { changes, sources, entries, mode } = frame;
    value.lastUpdate = { version, changes, sources, entries, mode, committedAt: asOf };
  }
  return isSound(value) && value;
}

function fromToken(token) {
  const claims = parsed(() => atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
  const userId = Number(claims.sub) || null;
  return { auth: { token }, authorization: `Bearer ${token}`, userId, key: userId && `u${userId}`, untilMs: claims.exp * 1000 };
}

function fromInitData(initData) {
  const { id } = parsed(() => new URLSearchParams(initData).get('user'));
  return { auth: { init_data: initData }, authorization: `tma ${initData}`, userId: null, key: id ? `t${id}` : null };
}
