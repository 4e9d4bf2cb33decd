// <ton-balance currency="TON" max-decimals="2">…</ton-balance> shows one currency of a client's balance. What is between
// the tags is shown until the balance is known.

import { BalanceClient, format } from './balance-client.js';

const ATTRIBUTES = ['currency', 'locale', 'min-decimals', 'max-decimals'];
const Base = globalThis.HTMLElement ?? class {};

export class TonBalance extends Base {
  static observedAttributes = ATTRIBUTES;
  /** The client of all elements that have none of their own. */
  static client = null;

  #client = null;
  #own = null; // made here, for a Telegram mini app with the attribute `url`
  #unsubscribe = null;
  #amount = null;

  get client() {
    return this.#client ?? TonBalance.client ?? this.#own;
  }

  set client(client) {
    this.#disconnect();
    this.#client = client;
    if (this.isConnected) this.#connect();
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
    this.#connect();
  }

  disconnectedCallback() {
    this.#disconnect();
  }

  attributeChangedCallback() {
    this.#render();
  }

  #connect() {
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
    const state = this.client?.current;
    if (!state || !this.#amount) return;
    this.setAttribute('status', state.status);
    this.toggleAttribute('stale', state.isStale);
    const amount = state.balances?.[this.getAttribute('currency') ?? 'TON'];
    if (amount === undefined) return this.#amount.replaceChildren(this.ownerDocument.createElement('slot'));
    const locale = this.getAttribute('locale') || undefined;
    const options = { locale, minDecimals: this.#number('min-decimals'), maxDecimals: this.#number('max-decimals') };
    const text = format(amount, options);
    if (this.#amount.textContent !== text) this.#amount.replaceChildren(text);
  }
}

/** Makes the element known to the page. */
export function define(name = 'ton-balance') {
  if (!customElements.get(name)) customElements.define(name, TonBalance);
}
