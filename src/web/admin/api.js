// The administration's API. The token is in this module's memory and nowhere else: not in a cookie, a store or a URL. The
// live stream is read by `fetch`, since an EventSource can't send it.

const RETRY_MS = [1_000, 15_000];
const REST_MS = 1_000;
/** A stream that has told nothing for so long is dead. */
const SILENCE_MS = 10_000;
/** A service that is frozen takes a request and never answers it. */
const ANSWER_MS = 10_000;

let token = '';

/** An answer that is no success; `code` is the problem's. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `HTTP ${status}`);
    this.status = status;
    this.code = problem.code ?? 'unknown';
    this.problem = problem;
  }
}

class Silent extends Error {
  code = 'silent';
}

export function useToken(value) {
  token = value;
}

// Relative: the page may stand behind a prefix.
async function ask(path, options = {}) {
  const response = await fetch(`v1/${path}`, { ...options, headers: { authorization: `Bearer ${token}` }, cache: 'no-store' });
  if (response.ok) return response;
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

const inTime = () => ({ signal: AbortSignal.timeout(ANSWER_MS) });

export const get = async (path) => (await ask(path, inTime())).json();

/** The same, with numbers that JavaScript would round kept as they were sent. They are for showing alone. */
export const getExact = async (path) => JSON.parse(await (await ask(path, inTime())).text(), exactly);

/** A reviver for `JSON.parse`; a browser that can't tell the source rounds. */
export function exactly(_, value, context) {
  const isRounded = typeof value === 'number' && context?.source !== undefined && String(value) !== context.source;
  return isRounded && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

export async function post(path) {
  const response = await ask(path, { method: 'POST', ...inTime() });
  return response.status === 204 ? {} : response.json();
}

/** The events of a stream, as they come: `[name, data]`. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const whole = (rest + value).split('\n\n');
      rest = whole.pop();
      for (const event of whole) {
        const lines = event.split('\n').map((line) => line.split(/: (.*)/s));
        const field = (name) => lines.find(([key]) => key === name)?.[1];
        yield [field('event'), JSON.parse(field('data'))];
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Waits for an event of the page or for the end of `signal`, and leaves no listener. */
const happens = (target, name, signal) =>
  new Promise((resolve) => {
    const here = new AbortController();
    const done = () => (here.abort(), resolve());
    target.addEventListener(name, done, { signal: here.signal });
    signal.addEventListener('abort', done, { signal: here.signal });
  });

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const here = new AbortController();
    const done = () => (clearTimeout(timer), here.abort(), resolve());
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { signal: here.signal });
  });

/**
 * Follows the live stream until `signal`, with one user beside it when one is given; while the page is hidden, nothing is
 * asked for. `onOpen` is called before the first event of each connection.
 */
export async function follow(signal, { userId = null, onOpen, onEvent, onState }) {
  const path = userId === null ? 'live' : `live?user_id=${userId}`;
  let wait = RETRY_MS[0];
  while (!signal.aborted) {
    while (document.hidden && !signal.aborted) await happens(document, 'visibilitychange', signal);
    if (signal.aborted) return;
    const attempt = new AbortController();
    const hide = () => document.hidden && attempt.abort();
    document.addEventListener('visibilitychange', hide);
    const silence = new Watchdog(() => attempt.abort(new Silent()));
    try {
      const response = await ask(path, { signal: AbortSignal.any([signal, attempt.signal]) });
      onOpen?.();
      for await (const [name, data] of events(response.body)) {
        wait = RETRY_MS[0];
        silence.again();
        onEvent(name, data);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!document.hidden) onState(error);
      if (error.status === 401) return;
    } finally {
      silence.end();
      document.removeEventListener('visibilitychange', hide);
    }
    await pause(document.hidden ? REST_MS : wait, signal);
    wait = Math.min(wait * 2, RETRY_MS[1]);
  }
}

class Watchdog {
  #bark;
  #timer;

  constructor(bark) {
    this.#bark = bark;
    this.again();
  }

  again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#bark, SILENCE_MS);
  }

  end() {
    clearTimeout(this.#timer);
  }
}
