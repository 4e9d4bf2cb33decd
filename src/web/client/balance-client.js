// One user's balance, live (see balance-client.d.ts). One file, so that a page loads it with one request; only the part for
// several tabs is a second one (tabs.js). Answers of the service go through `#adopt`, changes of the state through `#set`.

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 20_000;
const TIMEOUT_MS = 10_000;
const STABLE_MS = 10_000;
const RENEW_RETRY_MS = 5_000;
// Less than half of what the service takes by default (`limits.ws_messages_per_s`, `_burst`), and what it takes at the least.
const SENDS_PER_S = 8;
const SENDS_PER_S_MIN = 0.5;
const SENDS_BURST = 16;
const ASKS_MAX = 3; // of one refresh
const UNHEARD_MAX_MS = 180_000; // timers of a page in the background come once a minute, and a heartbeat takes two
const DECIMALS_MAX = 20;
const POLICY = { ttl_ms: 60_000, stale_while_revalidate_ms: 30_000, min_age_ms: 3_000 };
const NOTHING = { userId: null, balances: null, version: null, epoch: null, asOf: null, isStale: true, error: null, lastUpdate: null };
// From the service: problem codes, error frames, reasons of closed connections.
const CODES = new Set(
  `unauthorized origin_not_allowed not_found unknown_user version_not_reached rate_limited overloaded ledger_unavailable
  shutting_down invalid_message going_away unsupported_data invalid_utf8 message_too_big heartbeat_lost too_fast bad_messages
  unauthenticated token_expired too_many_sessions closed_by_administrator`.split(/\s+/),
);

const nowMs = () => performance.timeOrigin + performance.now(); // other tabs have the same

export class BalanceError extends Error {
  constructor(code, message = code, { isFinal = false, ...options } = {}) {
    super(message, options);
    this.name = 'BalanceError';
    this.code = code;
    this.isFinal = isFinal;
  }
}

export class BalanceClient {
  #options;
  #env;
  #base;
  #key = null;
  #state = { status: 'closed', ...NOTHING };
  #listeners = new Set();
  #watchers = new Set();
  #run = null; // new with each start: a task of another run is too late
  #timers = new Map();
  #policy = POLICY;
  #forgotten = 0;
  #adoptedMs = -Infinity; // the epoch
  #confirmedMs = -Infinity;
  #confirmedAt = -Infinity; // by the clock on the wall, which goes on while a machine sleeps
  #judgedMs = -Infinity; // whether what is shown is stale
  #readMs = -Infinity;
  #reads = new Budget();
  #reading;
  #refreshing;
  #nextRefresh;
  #isTold = false; // what is shown came from the service
  #isPainting = false;
  #isSignedOut = false;
  #signOuts = null; // open from the start to the sign-out, since a balance may be shown as long

  constructor(options = {}) {
    const { url = '/', getToken, getInitData, storage, userId, env = globalThis, debug } = options;
    const isOne = !getToken !== !getInitData && typeof (getToken || getInitData) === 'function';
    if (!isOne) misused('one of getToken and getInitData is needed, as a function');
    if (storage && ![storage, storage.getItem].some((one) => typeof one === 'function')) {
      misused('storage: localStorage, what has its methods, or a function that gives it is needed');
    }
    if (!Number.isSafeInteger(userId ?? 0)) misused(`userId: a number is needed, not ${userId}`);
    this.#options = options;
    this.#env = env;
    this.#base = baseOf(url, env.location?.href);
    if (debug) this.onConnection(typeof debug === 'function' ? debug : (event) => console.debug('balance', event));
    // Vue's `reactive` would hide the private fields, and so would a method that a page hands on as a handler.
    Object.defineProperty(this, '__v_skip', { value: true });
    for (const name of ['start', 'stop', 'refresh', 'read', 'waitFor']) this[name] = this[name].bind(this);
  }

  get current() {
    return this.#state;
  }

  getSnapshot = () => this.#state;

  subscribe = (listener) => listened(this.#listeners, () => listener(this.#state));

  onConnection = (listener) => listened(this.#watchers, listener);

  start() {
    const env = this.#env;
    // A server that renders the page shows no live balance.
    if (this.#run || !env.document) return;
    const telegram = env.Telegram?.WebApp;
    const abort = new AbortController();
    const on = (type, task, target = env) => target?.addEventListener?.(type, task, { signal: abort.signal });
    const run = (this.#run = { abort, pending: new Set(), failures: 0, suspensions: 0, notBeforeMs: 0 });
    on('online', this.#wake);
    on('pageshow', this.#wake);
    on('visibilitychange', () => this.#isVisible() && this.#wake(), env.document);
    on('pagehide', this.#suspend);
    on('offline', () => run.link && this.#lost(1006, 'offline'));
    abort.signal.onabort = () => telegram?.offEvent?.('activated', this.#wake);
    telegram?.onEvent?.('activated', this.#wake);
    this.#isSignedOut = false;
    this.#listen();
    this.#set({ status: 'connecting', error: null });
    this.#restore('userId', this.#options.userId);
    this.#connect();
  }

  stop({ forget = true } = {}) {
    const { userId } = this.#state;
    this.#end(new BalanceError('closed'));
    this.#unlisten();
    // After a sign-out it is no news, and somebody may be signing in.
    if (forget && !this.#isSignedOut) this.#announce({ key: this.#key, userId: userId ?? this.#options.userId ?? null });
    this.#isSignedOut ||= forget;
    this.#forget({ status: 'closed' }, forget);
  }

  // One at a time; the next begins after the last call, so it misses nothing.
  refresh(options) {
    if (this.#state.error) this.start();
    this.#nextRefresh ??= Promise.resolve(this.#refreshing).then(() => {
      this.#nextRefresh = null;
      return (this.#refreshing = this.#refresh());
    });
    return this.#patiently(this.#nextRefresh, options);
  }

  read(options) {
    return this.#patiently(this.#read(), options);
  }

  async waitFor(version, options) {
    if (!Number.isSafeInteger(version)) misused(`waitFor: a version is needed, not ${version}`);
    const forgotten = this.#forgotten;
    let unsubscribe;
    const reached = (resolve, reject) => {
      const check = () => {
        if (forgotten !== this.#forgotten) reject(new BalanceError('wrong_user', 'another user has signed in'));
        else if (!this.#isTold || this.#state.version < version) return false; // what was stored may be of another epoch
        else resolve(this.#state);
        return true;
      };
      unsubscribe = this.subscribe(check);
      if (!check()) this.refresh();
    };
    const run = this.#run ?? { isOver: true };
    return this.#bounded(async () => new Promise(reached), { ...options, run }).finally(() => unsubscribe?.());
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

  // Ends with the task, its time, the signal or the run.
  #bounded(task, { run, timeoutMs, signal }) {
    const limitMs = timeoutMs ?? TIMEOUT_MS;
    return new Promise((resolve, reject) => {
      const abort = new AbortController();
      const finish = (settle) => (value) => {
        this.#env.clearTimeout(timer);
        signal?.removeEventListener('abort', fail);
        run?.pending?.delete(fail);
        settle(value);
      };
      const fail = finish((cause) => {
        const isOurs = cause instanceof BalanceError;
        reject(signal?.aborted ? signal.reason : isOurs ? cause : new BalanceError('network', cause?.message, { cause }));
        abort.abort();
      });
      const timer = this.#after(limitMs, () => fail(new BalanceError('timeout', `no answer for ${limitMs} ms`)));
      signal?.addEventListener('abort', fail);
      run?.pending?.add(fail);
      if (run?.isOver || signal?.aborted) fail(new BalanceError('closed'));
      else task(abort.signal).then(finish(resolve), fail);
    });
  }

  // What never fails: at the end of its time it is answered with the state. Only a signal of the page breaks it off.
  #patiently(promise, options) {
    const { timeoutMs, signal } = options ?? {};
    if (typeof timeoutMs !== 'number' && !signal) return promise;
    return this.#bounded(() => promise, { timeoutMs: timeoutMs ?? Infinity, signal }).catch((error) => {
      if (signal?.aborted) throw error;
      return this.#unanswered(error);
    });
  }

  #unanswered(error) {
    return this.#state.error === error ? this.#state : Object.freeze({ ...this.#state, error });
  }

  #tell(type, detail) {
    for (const watch of this.#watchers) this.#call(() => watch({ type, at: new Date(Date.now()).toISOString(), ...detail }));
  }

  #call(listener) {
    try {
      listener();
    } catch (error) {
      (this.#env.reportError ?? console.error)(error);
    }
  }

  #set(patch) {
    const old = this.#state;
    const next = Object.freeze({ ...old, ...patch });
    if (Object.keys(next).every((key) => Object.is(next[key], old[key]))) return;
    this.#state = next;
    if (next.status !== old.status) this.#tell('status', { status: next.status, code: next.error?.code });
    for (const tell of this.#listeners) this.#call(tell);
    this.#paint();
  }

  // `beganMs`: when its source was asked. A late answer may only raise the version.
  #adopt(value, beganMs, isCurrent = beganMs > this.#judgedMs, patch) {
    const shown = this.#state;
    const isOther = value.epoch !== shown.epoch;
    if (isOther && beganMs < this.#adoptedMs) return false;
    if (!isCurrent && !isOther && value.version <= shown.version) return true;
    this.#isTold = true;
    const isStale = value.isStale || (!isCurrent && shown.isStale);
    const { userId, epoch, version, balances, asOf } = value;
    if (isOther || this.#adoptedMs < 0) this.#adoptedMs = nowMs();
    if (isCurrent) this.#judgedMs = nowMs();
    if (!isStale) [this.#confirmedMs, this.#confirmedAt] = [nowMs(), Date.now()];
    const isBehind = !isOther && version < shown.version;
    const error = isStale ? shown.error : null;
    const lastUpdate = isOther ? null : (updateFrom(shown, value) ?? shown.lastUpdate);
    this.#set({ isStale, error, ...(!isBehind && { userId, epoch, version, balances, asOf, lastUpdate }), ...patch });
    this.#save();
    return true;
  }

  #forget(patch, isStored = true) {
    this.#forgotten += 1;
    this.#isTold = false;
    this.#adoptedMs = this.#confirmedMs = this.#confirmedAt = this.#judgedMs = this.#readMs = -Infinity;
    if (isStored) this.#store('removeItem');
    this.#set({ ...NOTHING, ...patch });
  }

  #store(method, ...value) {
    const { storage } = this.#options;
    try {
      return (typeof storage === 'function' ? storage() : storage)?.[method](`balance-client ${this.#base}`, ...value);
    } catch {
      // What can't be replaced would be shown after what has been.
      if (method === 'setItem') this.#store('removeItem');
    }
  }

  #save() {
    const { userId, epoch, version, balances, asOf } = this.#state;
    const record = { key: this.#key, userId, epoch, version, balances, asOf, adoptedMs: this.#adoptedMs };
    if (!this.#run || isAhead(parsed(() => this.#store('getItem')), record)) return;
    this.#store('setItem', JSON.stringify(record));
  }

  #restore(field, owner) {
    if (!owner || !this.#run || this.#state.version !== null) return;
    const record = parsed(() => this.#store('getItem'));
    const { userId, epoch, version, balances, asOf, adoptedMs } = record;
    if (record[field] !== owner || !isSound(record)) return this.#store('removeItem');
    this.#adoptedMs = Math.min(adoptedMs ?? 0, nowMs()); // clocks are put back
    this.#key = record.key ?? this.#key; // another user's token has another
    this.#set({ userId, epoch, version, balances, asOf });
  }

  // A sign-out in one tab is one in all tabs of the user.
  #channel() {
    try {
      return new this.#env.BroadcastChannel(`balance-client sign-out ${this.#base}`);
    } catch {} // not in this browser, or forbidden
  }

  #listen() {
    this.#signOuts ??= this.#channel();
    if (!this.#signOuts) return;
    this.#signOuts.onmessage = ({ data: { key, userId } }) => {
      const owner = this.#state.userId ?? this.#options.userId;
      const isMine = (key && key === this.#key) || (userId && userId === owner);
      if (isMine) this.#signOut(new BalanceError('signed_out', 'another tab has signed out'));
      else if (this.#run) this.#run.isDoubtful = true;
    };
  }

  #unlisten() {
    this.#signOuts?.close();
    this.#signOuts = null;
  }

  #announce(owner) {
    const channel = (owner.key || owner.userId) && this.#channel();
    channel?.postMessage(owner);
    channel?.close();
  }

  #signOut(error) {
    this.#end(error);
    this.#unlisten();
    this.#isSignedOut = true;
    this.#forget({ status: 'unauthorized', error });
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
        if (isShown && version > link.displayed) link.socket.send({ type: 'displayed', version: (link.displayed = version) });
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
    const isToken = !!getToken;
    this.#tell('credential_asked');
    let credential;
    try {
      let secret;
      // A user who signs out in another tab meanwhile may be this one: what was asked for before is not taken.
      do {
        run.isDoubtful = false;
        secret = await this.#bounded(() => asked(getToken || getInitData, isToken), { run });
        if (run !== this.#run) throw new BalanceError('closed');
      } while (run.isDoubtful);
      if (!secret) throw new BalanceError('signed_out', `${isToken ? 'getToken' : 'getInitData'} gave nothing`);
      credential = (isToken ? fromToken : fromInitData)(secret);
    } catch (error) {
      if (run !== this.#run) throw error;
      this.#tell('credential_failed', { code: error.code, error });
      if (run !== this.#run) throw error;
      run.tokenError = error;
      if (error.code === 'signed_out') this.#signOut(error);
      else if (error.isFinal) this.#halt('misconfigured', error);
      throw error;
    }
    run.credential = credential;
    run.tokenError = null;
    const { key, userId } = credential;
    const isSame = key === this.#key || (userId !== null && userId === this.#state.userId);
    if (this.#key !== null && !isSame) this.#changeUser(run);
    this.#key = key;
    return credential;
  }

  #changeUser(run) {
    this.#hangUp(run);
    this.#forget({ status: 'connecting' });
    this.#connect();
  }

  get #ageMs() {
    return Math.max(nowMs() - this.#confirmedMs, Date.now() - this.#confirmedAt);
  }

  async #read() {
    const { ttl_ms, stale_while_revalidate_ms, min_age_ms } = this.#policy;
    const { status, isStale } = this.#state;
    const run = this.#run;
    const now = nowMs();
    const age = this.#ageMs;
    if (!run || run.tokenError || (!isStale && (status === 'live' || age < ttl_ms))) return this.#state;
    if (now >= Math.max(this.#readMs + min_age_ms, run.notBeforeMs)) this.#reading = this.#fetch('');
    if (age >= ttl_ms + stale_while_revalidate_ms) await this.#reading;
    return this.#state;
  }

  async #refresh() {
    const run = this.#run;
    const link = run?.link;
    if (link?.isLive) {
      try {
        const answer = new Promise((resolve, reject) => (link.refresh = { id: Math.random(), resolve, reject }));
        link.socket.send({ type: 'refresh', id: link.refresh.id });
        await this.#bounded(() => answer, { run });
        return this.#state;
      } catch (error) {
        if (run.isSuspended || !/timeout|connection_lost/.test(error.code)) return this.#unanswered(error);
      } finally {
        link.refresh = null;
      }
    }
    this.#wake();
    for (let asks = 1; ; asks += 1) {
      const waitMs = this.#reads.waitMs;
      if (waitMs) await new Promise((resolve) => this.#after(waitMs, resolve));
      this.#reads.take();
      const error = await this.#fetch('?fresh=true');
      if (!error) return this.#state;
      if (asks === ASKS_MAX || !/wrong_user|epoch_over/.test(error.code)) return this.#unanswered(error);
    }
  }

  // Resolves with why no answer was taken. One from before another user or epoch was shown tells nothing of it.
  async #fetch(query) {
    const run = this.#run;
    if (!run) return new BalanceError('closed');
    this.#readMs = nowMs();
    try {
      const credential = await this.#credential(run);
      const beganMs = nowMs();
      const forgotten = this.#forgotten;
      const { suspensions } = run;
      const task = async (signal) => {
        const { authorization } = credential;
        // A cache may know another user's balance by this URL.
        const init = { headers: { authorization }, cache: 'no-store', signal };
        const response = await this.#env.fetch(`${this.#base}/api/v1/balance${query}`, init);
        return [response, await response.json().catch(() => ({}))];
      };
      const [response, body] = await this.#bounded(task, { run });
      if (run !== this.#run || forgotten !== this.#forgotten) return new BalanceError('wrong_user');
      // Another tab may have signed out meanwhile; and a frozen page has the time-out after the answer.
      if (suspensions !== run.suspensions) return new BalanceError('offline');
      if (nowMs() - beganMs > TIMEOUT_MS) throw new BalanceError('timeout');
      if (response.status === 401) run.credential = null;
      run.notBeforeMs = nowMs() + (response.headers.get('retry-after') * 1000 || 0);
      const value = fromFrame(body);
      if (!response.ok || !value) throw new BalanceError(codeOf(body.code, `http_${response.status}`), body.detail ?? `HTTP ${response.status}`);
      if ([credential, this.#state].some(({ userId }) => userId !== null && userId !== value.userId)) {
        this.#changeUser(run);
        return new BalanceError('wrong_user');
      }
      const { epoch } = this.#state;
      if (!this.#adopt(value, beganMs)) return new BalanceError('epoch_over');
      if (run !== this.#run) return new BalanceError('closed');
      const { link } = run;
      if (epoch !== value.epoch && link?.isLive && link.epoch !== value.epoch) this.#lost(1006, 'epoch_over');
      if (value.isStale) return new BalanceError('ledger_unavailable');
    } catch (error) {
      const { status, isStale } = this.#state;
      if (run === this.#run) this.#set({ error, isStale: isStale || status !== 'live' });
      return error;
    }
  }

  async #connect() {
    const run = this.#run;
    const isBusy = () => run !== this.#run || run.isSuspended || run.link;
    if (!run || run.isConnecting || isBusy()) return;
    this.#cancel();
    run.isConnecting = true;
    run.tokenError = null;
    const load = () => import('./tabs.js');
    const loading = this.#options.share === false ? null : this.#bounded(load, { run }).catch(() => null);
    this.#openEarly(run);
    let failure;
    const credential = await this.#credential(run).catch((error) => void (failure = error));
    const tabs = await loading;
    run.isConnecting = false;
    if (failure || isBusy()) closeEarly(run);
    if (isBusy()) return;
    if (failure) return this.#retry(failure);
    // Another token has come meanwhile, perhaps another user's.
    if (credential !== run.credential) return this.#connect();
    this.#restore('key', credential.key);
    if (!isBusy()) this.#open(run, credential, tabs);
  }

  get #socketUrl() {
    return `${this.#base.replace('http', 'ws')}/ws`;
  }

  // The handshake goes on while the token is fetched, unless another tab has a connection to share. A page's head may have
  // begun it, as `balanceSocket`.
  async #openEarly(run) {
    const env = this.#env;
    const url = this.#socketUrl;
    const take = () => {
      if (env.balanceSocket?.url !== url) return;
      run.early ??= env.balanceSocket;
      env.balanceSocket = null;
    };
    try {
      take();
      if (run.credential || run.failures) return;
      const locks = this.#options.share === false ? null : await env.navigator?.locks?.query();
      const isShared = locks?.held.some(({ name }) => name.startsWith(`balance-client 2 ${url} `));
      const isTaken = !!run.early;
      take(); // the page's head may wait for the same answer
      const isLate = !run.isConnecting && !isTaken;
      if (run !== this.#run || run.isSuspended || isShared || isLate) closeEarly(run);
      else if (run.isConnecting) run.early ??= new env.WebSocket(url, 'balance.v1');
    } catch {} // the attempt with the token tells why
  }

  #open(run, credential, tabs) {
    const link = { credential, beganMs: nowMs(), isHeard: true, heardAt: Date.now() };
    const current = (task) => (event) => run.link === link && task(event);
    run.link = link;
    this.#later('link', TIMEOUT_MS, () => link.isLive || this.#lost(1006, 'timeout'));
    try {
      const connect = (env, url) => {
        const { early } = run;
        run.early = null;
        return new PacedSocket(env, early?.readyState < 2 ? early : new env.WebSocket(url, 'balance.v1'));
      };
      const shared = tabs?.open(this.#env, this.#socketUrl, credential.key, connect, () => closeEarly(run));
      const socket = shared ?? connect(this.#env, this.#socketUrl);
      link.socket = socket;
      this.#tell('opening', { isShared: !!shared });
      socket.onopen = current(() => socket.send({ type: 'auth', ...credential.auth }));
      socket.onmessage = current(({ frame, ids }) => this.#receive(run, link, frame, ids));
      socket.onclose = current(({ code, reason }) => this.#lost(code, reason));
      socket.onsilence = current(() => this.#doubt(link, 'leader_silent'));
    } catch (cause) {
      const isFinal = cause.name === 'SecurityError' || cause.name === 'SyntaxError';
      const error = new BalanceError(isFinal ? 'invalid_url' : 'network', cause.message, { cause, isFinal });
      if (isFinal) this.#halt('misconfigured', error);
      else this.#lost(1006, '', error);
    }
  }

  // The tab that has the connection does not answer and is replaced, or this one has slept. Until a balance comes, nothing is
  // known for sure.
  #doubt(link, why) {
    if (!link.isLive) return;
    this.#tell(why);
    if (this.#run?.link !== link) return;
    link.isLive = false;
    this.#set({ status: 'connecting', isStale: true });
    this.#later('link', TIMEOUT_MS, () => link.isLive || this.#lost(1006, 'timeout'));
  }

  #receive(run, link, frame, ids) {
    const { type, code, message, retry_after_ms } = frame;
    link.isHeard = true;
    link.heardAt = Date.now();
    if (type === 'hello') {
      const { user_id, epoch, client_cache, heartbeat_ms } = frame;
      if (user_id !== (link.credential.userId ?? user_id)) return this.#lost(1006, 'wrong_user');
      Object.assign(link, { userId: user_id, epoch, displayed: -1, heartbeatMs: Math.max(100, heartbeat_ms || 25_000) });
      this.#policy = { ...POLICY, ...client_cache };
      this.#beat(link);
      this.#renewLater(link.credential);
      // The tab that was asked may be gone.
      if (link.refresh) link.socket.send({ type: 'refresh', id: link.refresh.id });
      return user_id === (this.#state.userId ?? user_id) || this.#forget({ status: 'connecting' });
    }
    const value = /^balance(_update)?$/.test(type) && fromFrame(frame);
    const isBalance = value && value.userId === link.userId;
    const isAway = code === 'ledger_unavailable';
    if (!link.isLive && (isBalance || isAway)) {
      link.isLive = true;
      link.liveMs = nowMs();
      run.isRefused = false;
      this.#tell('live');
      if (run.link !== link) return;
    }
    const refresh = ids?.includes(link.refresh?.id) && link.refresh;
    if (isBalance) {
      if (!this.#adopt(value, link.socket.beganMs ?? link.beganMs, true, { status: 'live' })) return this.#lost(1006, 'epoch_over');
      if (refresh) value.isStale ? refresh.reject(new BalanceError('ledger_unavailable')) : refresh.resolve();
    } else if (type === 'error') {
      const error = new BalanceError(codeOf(code, 'unknown'), message);
      if (isAway) this.#judgedMs = nowMs();
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
    link.socket.send({ type: 'ping' });
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
    link.socket.send({ type: 'auth', ...credential.auth });
    this.#renewLater(credential);
  }

  #lost(code, reason, error) {
    const run = this.#run;
    const { isLive, liveMs } = run.link;
    const isKnown = CODES.has(reason) || /^(timeout|offline|wrong_user|epoch_over|taken_over)$/.test(reason);
    error ??= new BalanceError(isKnown ? reason : 'connection_lost', `closed with ${code}${reason ? ` (${reason})` : ''}`);
    this.#tell('lost', { closeCode: code, reason, code: error.code });
    if (run !== this.#run) return;
    if (nowMs() - liveMs >= STABLE_MS) run.failures = 0;
    this.#hangUp(run, true);
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

  #hangUp(run, isGivenUp) {
    const { link } = run;
    run.link = null;
    this.#cancel();
    closeEarly(run);
    link?.socket?.close(1000, isGivenUp);
    link?.refresh?.reject(new BalanceError('connection_lost'));
  }

  #retry(error) {
    const run = this.#run;
    const { status, isStale } = this.#state;
    const randomMs = Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** run.failures++);
    const waitMs = Math.max(randomMs, run.notBeforeMs - nowMs());
    this.#tell('retrying', { waitMs: Math.round(waitMs), code: error.code });
    if (run !== this.#run) return;
    this.#later('retry', waitMs, () => this.#connect());
    const { ttl_ms, stale_while_revalidate_ms } = this.#policy;
    const isOld = this.#ageMs >= ttl_ms + stale_while_revalidate_ms;
    this.#set({ status: 'offline', error, isStale: isStale || status !== 'offline' || isOld });
    if (run.failures > 1) this.#read();
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
    run.isOver = true;
    run.abort.abort();
    for (const fail of run.pending) fail(error);
  }

  #wake = () => {
    const run = this.#run;
    if (!run) return;
    const { link, notBeforeMs } = run;
    this.#listen();
    run.isSuspended = false;
    const isLong = Date.now() - link?.heardAt > Math.max(UNHEARD_MAX_MS, 3 * link?.heartbeatMs);
    if (link?.isLive && isLong) {
      this.#doubt(link, 'slept');
      if (run.link === link) link.socket.send({ type: 'refresh', id: Math.random() });
    } else if (link) link.isLive && link.isHeard && this.#probe(link);
    else this.#later('retry', Math.max(0, notBeforeMs - nowMs()), () => this.#connect());
    this.#paint();
  };

  // A page in the back-forward cache does not hear that another tab signs out: the token is asked for again.
  #suspend = () => {
    const run = this.#run;
    run.isSuspended = true;
    run.credential = null;
    run.isDoubtful = true;
    run.suspensions += 1;
    this.#unlisten();
    this.#hangUp(run);
    this.#set({ status: 'offline', isStale: true });
  };
}

// How many may be sent: some at once, then some each second.
class Budget {
  #perS = SENDS_PER_S;
  #most = SENDS_BURST;
  #left = SENDS_BURST;
  #filledMs = nowMs();

  // How long until there is something left, in whole milliseconds.
  get waitMs() {
    const now = nowMs();
    if (now > this.#filledMs) {
      this.#left = Math.min(this.#most, this.#left + ((now - this.#filledMs) * this.#perS) / 1_000);
      this.#filledMs = now;
    }
    return this.#left >= 1 ? 0 : Math.ceil(this.#filledMs - now + ((1 - this.#left) * 1_000) / this.#perS);
  }

  take() {
    this.#left -= 1;
  }

  // It was too much, and the next time costs the connection: nothing for a while, and then very little.
  shrink(pauseMs) {
    this.#perS = SENDS_PER_S_MIN;
    this.#most = 1;
    this.#left = 0;
    this.#filledMs = nowMs() + pauseMs;
  }
}

// A WebSocket that keeps within a rate, so that nothing that a page calls loses the connection. There is one refresh at a
// time; those that come meanwhile are one together. Takes messages as objects, and gives frames as objects with the `ids`
// of the refreshes that they answer.
class PacedSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  #env;
  #socket;
  #serial = 0;
  #asked = null; // the refresh under way: { id, ids }
  #wanted = new Set(); // ids of refreshes that wait
  #waiting = new Map(); // by type: the latest of each is enough
  #budget = new Budget();
  #timer;
  #patience;

  constructor(env, socket) {
    this.#env = env;
    this.#socket = socket;
    socket.onopen = () => this.onopen?.();
    socket.onmessage = ({ data }) => this.#receive(parsed(() => data));
    socket.onclose = ({ code, reason }) => {
      this.#cancel();
      this.onclose?.({ code, reason });
    };
    if (socket.readyState === 1) Promise.resolve().then(() => this.onopen?.());
  }

  send(message) {
    const { type, id } = message;
    if (type === 'auth') return this.#put(message);
    if (type === 'refresh') this.#wanted.add(id);
    else this.#waiting.set(type, message);
    this.#flush();
  }

  close(code) {
    this.#cancel();
    this.#socket.close(code);
  }

  #cancel() {
    this.#env.clearTimeout(this.#timer);
    this.#env.clearTimeout(this.#patience);
  }

  #put(message) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  #flush() {
    if (this.#socket.readyState !== 1) return; // the first frame comes back here
    while (this.#waiting.size || (this.#wanted.size && !this.#asked)) {
      const { waitMs } = this.#budget;
      if (waitMs) {
        this.#env.clearTimeout(this.#timer);
        this.#timer = this.#env.setTimeout(() => this.#flush(), waitMs);
        return;
      }
      this.#budget.take();
      this.#put(this.#next());
    }
  }

  #next() {
    for (const [type, message] of this.#waiting) {
      this.#waiting.delete(type);
      return message;
    }
    const id = ++this.#serial;
    this.#asked = { id, ids: [...this.#wanted] };
    this.#wanted.clear();
    this.#patience = this.#env.setTimeout(() => this.#answered(), TIMEOUT_MS);
    return { type: 'refresh', id };
  }

  #answered() {
    const ids = this.#asked?.ids;
    this.#asked = null;
    this.#env.clearTimeout(this.#patience);
    return ids;
  }

  #receive(frame) {
    const { id, code, retry_after_ms: waitMs = 1_000 } = frame;
    if (code === 'rate_limited') return this.#slowDown(id, waitMs);
    const ids = this.#asked && id === this.#asked.id ? this.#answered() : undefined;
    this.onmessage?.({ frame, ids });
    this.#flush();
  }

  // The service takes less than is usual. What it has not answered is asked once more, later.
  #slowDown(id, waitMs) {
    if (this.#asked && (id === undefined || id === this.#asked.id)) this.#answered().forEach((one) => this.#wanted.add(one));
    this.#budget.shrink(waitMs);
    this.#flush();
  }
}

// Cut off downwards: it never shows more than there is.
export function format(amount, { locale, minDecimals, maxDecimals, ...options } = {}) {
  const [, sign, whole, fraction = ''] = parse(amount);
  // Compact notation has digits of its own behind the point.
  const least = Math.min(counted(minDecimals, 0), DECIMALS_MAX);
  const asked = counted(maxDecimals, Infinity);
  const most = Math.min(asked < DECIMALS_MAX ? asked : Math.max(fraction.length, least), DECIMALS_MAX);
  const digits = { minimumFractionDigits: Math.min(least, most), maximumFractionDigits: most };
  const numbers = new Intl.NumberFormat(localeOf(locale), { ...options, ...digits, roundingMode: 'floor' });
  return numbers.format(/[1-9]/.test(whole + fraction) ? amount : amount.slice(sign.length));
}

const counted = (digits, other) => (digits !== null && digits >= 0 ? Math.floor(digits) : other);

// A locale that is no language tag (`en_US`, `en-US@posix`) is read as one where that can be, else left to the browser.
function localeOf(locale) {
  const tags = [locale].flat().map((tag) => `${tag ?? ''}`.replace(/[@.].*/, '').replace(/_/g, '-'));
  const good = tags.filter((tag) => {
    try {
      return Intl.getCanonicalLocales(tag).length;
    } catch {}
  });
  return good.length ? good : undefined;
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

function closeEarly(run) {
  const { early } = run;
  run.early = null;
  // Closed during its handshake, a socket is an error in the browser's console.
  if (early?.readyState === 0) early.onopen = () => early.close(1000);
  else early?.close(1000);
}

function listened(listeners, listener) {
  const one = (event) => listener(event);
  listeners.add(one);
  return () => listeners.delete(one);
}

function parsed(read) {
  try {
    return JSON.parse(read()) ?? {};
  } catch {
    return {};
  }
}

function baseOf(url, page) {
  const refuse = (code, why, cause) => {
    throw new BalanceError(code, `url ${url}: ${why}`, { cause, isFinal: true });
  };
  const text = `${url ?? ''}`;
  if (!text) refuse('invalid_url', 'an address is needed, or none at all');
  let parts;
  try {
    parts = new URL(text, page ?? 'http://localhost');
  } catch (cause) {
    refuse('invalid_url', 'an address such as https://balance.example.org is needed', cause);
  }
  const { protocol, hostname, search, hash, username, href } = parts;
  if (!/^(https?|wss?):$/.test(protocol)) refuse('invalid_url', 'it has to begin with https:// (or http://)');
  if (search || hash || username) refuse('invalid_url', 'it may have no query, no fragment and no user name');
  const isHere = /^(.*\.)?localhost$|^127\.|^\[::1\]$/.test(hostname);
  if (page?.startsWith('https:') && /^(http|ws):$/.test(protocol) && !isHere) {
    refuse('insecure_url', 'browsers let no https page connect to http; use https://');
  }
  return href.replace(/^ws/, 'http').replace(/\/(ws)?$/, '');
}

function misused(why) {
  throw new BalanceError('invalid_options', why, { isFinal: true });
}

const codeOf = (code, other) => (CODES.has(code) ? code : other);

async function asked(ask, isToken) {
  let secret;
  try {
    secret = await ask();
  } catch (cause) {
    // `Telegram` is not there outside Telegram, and no waiting brings it; nor a variable that is not there.
    const isFinal = !isToken || cause instanceof ReferenceError;
    throw new BalanceError(isToken ? 'token_failed' : 'init_data_failed', cause?.message, { cause, isFinal });
  }
  if (secret !== null && secret !== undefined && typeof secret !== 'string') {
    throw new BalanceError('invalid_token', `a string is needed, not ${typeof secret}`, { isFinal: true });
  }
  return secret?.trim();
}

function isSound({ userId, epoch, version, balances }) {
  const isCount = Number.isSafeInteger(userId) && Number.isSafeInteger(version) && version >= 0;
  const isAmount = (amount) => typeof amount === 'string' && /^-?\d+(\.\d+)?$/.test(amount);
  return isCount && typeof epoch === 'string' && !!balances && Object.values(balances).every(isAmount);
}

// Whether another tab has stored what came later.
function isAhead(stored, { key, userId, epoch, version, adoptedMs }) {
  if (stored.key !== key || stored.userId !== userId) return false;
  return stored.epoch === epoch ? stored.version > version : stored.adoptedMs > adoptedMs && stored.adoptedMs <= nowMs();
}

function fromFrame(frame) {
  const { type, user_id: userId, epoch, version, balances, stale, committed_at, as_of: asOf = committed_at } = frame;
  const value = { userId, epoch, version, balances, asOf, isStale: stale === true };
  if (type === 'balance_update') {
    const { sources, mode } = frame;
    value.update = { version, sources, mode, committedAt: asOf };
  }
  return isSound(value) && value;
}

// A push, with changes from what this page shows: other tabs, a refresh or `waitFor` may have shown more than the service
// counts from. Nothing when it shows nothing new.
function updateFrom(shown, { update, version, balances }) {
  if (!update || shown.version === null || version <= shown.version) return null;
  const changes = {};
  for (const code of Object.keys({ ...shown.balances, ...balances })) {
    const before = shown.balances[code] ?? '0';
    const change = add(balances[code] ?? '0', before.startsWith('-') ? before.slice(1) : `-${before}`);
    if (compare(change, '0')) changes[code] = change;
  }
  return Object.freeze({ ...update, changes, entries: version - shown.version });
}

function fromToken(token) {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw new BalanceError('invalid_token', 'what getToken gave is no session token');
  const claims = parsed(() => atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
  const userId = Number(claims.sub) || null;
  return { auth: { token }, authorization: `Bearer ${token}`, userId, key: userId && `u${userId}`, untilMs: claims.exp * 1000 };
}

function fromInitData(initData) {
  const { id } = parsed(() => new URLSearchParams(initData).get('user'));
  return { auth: { init_data: initData }, authorization: `tma ${initData}`, userId: null, key: id ? `t${id}` : null };
}
