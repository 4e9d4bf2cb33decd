// <ton-balance currency="TON" max-decimals="2">…</ton-balance> shows one currency of a client's balance. What is between
// the tags is shown until the balance is known, and again when it no longer is.

import { BalanceClient, format } from './balance-client.js';

const ATTRIBUTES = ['currency', 'locale', 'min-decimals', 'max-decimals', 'url'];
// A server that renders the page has no elements.
const Base = globalThis.HTMLElement ?? class {};

// A page may have this module twice (two versions, two bundles). All copies show the same client.
const page = (globalThis[Symbol.for('balance-client elements')] ??= { client: null, connected: new Set() });
const isOurs = Symbol.for('balance-client element');

export class TonBalance extends Base {
  static observedAttributes = ATTRIBUTES;
  static [isOurs] = true;

  #client = null;
  #own = null; // made here, for a Telegram mini app with the attribute `url`
  #unsubscribe = null;
  #amount = null;

  /** The client of all elements that have none of their own. */
  static get client() {
    return page.client;
  }

  static set client(client) {
    page.client = checked(client);
    for (const reconnect of page.connected) reconnect();
  }

  get client() {
    return this.#client ?? page.client ?? this.#own;
  }

  set client(client) {
    this.#client = checked(client);
    if (this.isConnected) this.#reconnect();
  }

  connectedCallback() {
    if (!this.shadowRoot) {
      this.#amount = this.ownerDocument.createElement('span');
      this.#amount.setAttribute('part', 'amount');
      this.#amount.append(this.ownerDocument.createElement('slot'));
      this.attachShadow({ mode: 'open' }).append(this.#amount);
    }
    // A screen reader tells of changes when it has time for them.
    if (!this.hasAttribute('role')) this.setAttribute('role', 'status');
    // A client that was set before `define()` is a property of the element, and would hide this class's for ever.
    if (Object.hasOwn(this, 'client')) {
      const { client } = this;
      delete this.client;
      this.#client = checked(client);
    }
    page.connected.add(this.#reconnect);
    this.#connect();
  }

  disconnectedCallback() {
    page.connected.delete(this.#reconnect);
    this.#disconnect();
  }

  attributeChangedCallback(name, before, now) {
    const isInPage = this.#amount && this.isConnected;
    if (name === 'url' && before !== now && isInPage) this.#reconnect();
    else this.#render();
  }

  #reconnect = () => {
    this.#disconnect();
    this.#connect();
  };

  #connect() {
    this.#disconnect();
    if (!this.client && this.hasAttribute('url')) {
      const getInitData = () => globalThis.Telegram?.WebApp?.initData || null;
      this.#own = new BalanceClient({ url: this.getAttribute('url'), getInitData });
      this.#own.start();
    }
    this.#unsubscribe = this.client?.subscribe(() => this.#render());
    this.#render();
  }

  #disconnect() {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    this.#own?.stop({ forget: false });
    this.#own = null;
  }

  #number(name) {
    const text = this.getAttribute(name);
    return text === null || !/^\d+$/.test(text) ? undefined : Number(text);
  }

  #render() {
    if (!this.#amount) return;
    const state = this.client?.current;
    if (state) this.setAttribute('status', state.status);
    else this.removeAttribute('status');
    this.toggleAttribute('stale', state?.isStale ?? false);
    const amount = state?.balances?.[this.getAttribute('currency') ?? 'TON'];
    if (amount === undefined) return this.#amount.replaceChildren(this.ownerDocument.createElement('slot'));
    const locale = this.getAttribute('locale') || undefined;
    const options = { locale, minDecimals: this.#number('min-decimals'), maxDecimals: this.#number('max-decimals') };
    const text = format(amount, options);
    if (this.#amount.textContent !== text) this.#amount.replaceChildren(text);
  }
}

/**
 * Makes the element known to the page. Nothing happens on a server, or when it is known already, also by another copy of this
 * module. Throws when the name is taken by another element.
 */
export function define(name = 'ton-balance') {
  const { customElements } = globalThis;
  if (!customElements) return;
  const known = customElements.get(name);
  if (known && !known[isOurs]) throw new Error(`<${name}> is another element already; give define() a name of its own`);
  // The browser takes a class under one name only.
  if (!known) customElements.define(name, class extends TonBalance {});
}

function checked(client = null) {
  if (client !== null && typeof client?.subscribe !== 'function') throw new TypeError('client: a BalanceClient or null is needed');
  return client;
}
