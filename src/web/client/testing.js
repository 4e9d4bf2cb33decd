// A balance for tests and storybooks: what looks like a client, and shows what the test says. No connection, no timer.

const NOTHING = {
  status: 'closed', userId: null, balances: null, version: null, epoch: null, asOf: null, isStale: true, error: null, lastUpdate: null,
};

/** Made with nothing it is as before `start()`; with balances it is live. `set` changes the state and tells the listeners. */
export function fakeBalance(state = {}) {
  const listeners = new Set();
  const live = state.balances ? { status: 'live', isStale: false, userId: 1, version: 1, epoch: 'test', asOf: '2026-01-01T00:00:00.000000Z' } : {};
  let current = Object.freeze({ ...NOTHING, ...live, ...state });
  const set = (patch) => {
    current = Object.freeze({ ...current, ...patch });
    for (const tell of [...listeners]) tell(current);
  };
  const answer = async () => current;
  return {
    get current() {
      return current;
    },
    getSnapshot: () => current,
    subscribe(listener) {
      const tell = (state) => listener(state);
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
    start() {},
    stop: ({ forget = true } = {}) => set(forget ? NOTHING : { status: 'closed', isStale: true }),
    refresh: answer,
    read: answer,
    waitFor: answer,
    set,
  };
}
