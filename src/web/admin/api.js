// The administration's API. The token is in this module's memory and nowhere else: not in a cookie, a store or a URL. The
// live stream is read by `fetch`, since an EventSource can't send it.

const RETRY_MS = [1_000, 15_000];
const REST_MS = 1_000;

let token = '';

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `HTTP ${status}`);
    this.status = status;
    this.code = problem.code ?? 'unknown';
  }
}

export const isSignedIn = () => token !== '';

export function useToken(value) {
  token = value;
}

// Relative: the page may stand behind a prefix.
async function ask(path, options = {}) {
  const response = await fetch(`v1/${path}`, { ...options, headers: { authorization: `Bearer ${token}` }, cache: 'no-store' });
  if (response.ok) return response;
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

export const get = async (path, signal) => (await ask(path, { signal })).json();

export async function post(path) {
  const response = await ask(path, { method: 'POST' });
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

const visible = () =>
  new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener('visibilitychange', resolve, { once: true });
  });

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });

/** Follows the live stream until `signal`; while the page is hidden, nothing is asked for. */
export async function follow(signal, { onEvent, onState }) {
  let wait = RETRY_MS[0];
  while (!signal.aborted) {
    await visible();
    const hidden = new AbortController();
    const hide = () => document.hidden && hidden.abort();
    document.addEventListener('visibilitychange', hide);
    try {
      const response = await ask('live', { signal: AbortSignal.any([signal, hidden.signal]) });
      for await (const [name, data] of events(response.body)) {
        wait = RETRY_MS[0];
        onEvent(name, data);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!document.hidden) onState(error);
      if (error.status === 401) return;
    } finally {
      document.removeEventListener('visibilitychange', hide);
    }
    await pause(document.hidden ? REST_MS : wait, signal);
    wait = Math.min(wait * 2, RETRY_MS[1]);
  }
}
