// The page's connection to the service, with a switch in it: what the library is given in place of `globalThis`. Cut, it is
// what a phone in a tunnel has.

const dead = {
  navigator: {}, // no locks: not by way of another tab either
  fetch: () => Promise.reject(new TypeError('the connection is cut')),
  WebSocket: class {
    constructor() {
      throw new Error('the connection is cut');
    }
  },
};
let isCut = false;

export const line = new Proxy(globalThis, {
  get(target, name) {
    if (isCut && Object.hasOwn(dead, name)) return dead[name];
    const value = target[name];
    return typeof value === 'function' ? value.bind(target) : value;
  },
});

/** Cuts it, or mends it. Answers whether it is cut. */
export function toggle() {
  isCut = !isCut;
  dispatchEvent(new Event(isCut ? 'offline' : 'online'));
  return isCut;
}
