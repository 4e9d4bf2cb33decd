// The element's own logic, on the little of a document that it needs. How it looks is for a real browser to show.

import assert from 'node:assert/strict';
import test from 'node:test';
import { TON, USER, World } from './support/world.mjs';

class Node {
  attributes = new Map();
  children = [];
  isConnected = false;
  shadowRoot = null;
  ownerDocument = { createElement: (name) => Object.assign(new Node(), { name }) };
  setAttribute = (name, value) => void this.attributes.set(name, value);
  getAttribute = (name) => this.attributes.get(name) ?? null;
  hasAttribute = (name) => this.attributes.has(name);
  removeAttribute = (name) => void this.attributes.delete(name);
  toggleAttribute = (name, isOn) => (isOn ? this.attributes.set(name, '') : this.attributes.delete(name));
  append = (...nodes) => void this.children.push(...nodes);
  replaceChildren = (...nodes) => void (this.children = nodes);
  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join('');
  }
  attachShadow() {
    return (this.shadowRoot = new Node());
  }
}

globalThis.HTMLElement = Node;
const names = new Map();
globalThis.customElements = { get: (name) => names.get(name), define: (name, type) => defined(name, type) };
const { define, TonBalance } = await import('../../../src/web/client/element.js');

/** As a browser: a class has one name. */
function defined(name, type) {
  if ([...names.values()].includes(type)) throw new DOMException('this constructor has been used', 'NotSupportedError');
  names.set(name, type);
}

function mount(attributes) {
  const element = new TonBalance();
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.isConnected = true;
  element.connectedCallback();
  return element;
}

const shown = (element) => element.shadowRoot.children[0].textContent;

test('the element shows its currency, and its own text until there is a balance', async (t) => {
  const world = new World(t);
  world.server.commit(USER, 1.239 * TON);
  const client = world.client();
  TonBalance.client = client;
  t.after(() => (TonBalance.client = null));
  const element = mount({ currency: 'TON', locale: 'en', 'max-decimals': '2' });
  assert.equal(element.shadowRoot.children[0].children[0].name, 'slot');
  assert.equal(element.getAttribute('role'), 'status');
  client.start();
  await world.advance(100);
  assert.equal(shown(element), '1.23');
  assert.deepEqual([element.getAttribute('status'), element.hasAttribute('stale')], ['live', false]);
  world.server.commit(USER, TON);
  await world.advance(50);
  assert.equal(shown(element), '2.23');
  client.tab.fire('offline');
  assert.deepEqual([element.getAttribute('status'), element.hasAttribute('stale'), shown(element)], ['offline', true, '2.23']);
  client.stop();
  assert.equal(element.shadowRoot.children[0].children[0].name, 'slot');
});

test('an element that left the page hears nothing, and follows another client when it is given one', async (t) => {
  const world = new World(t);
  const first = await world.live();
  const element = mount({ locale: 'en' });
  element.client = first;
  assert.equal(shown(element), '0');
  element.disconnectedCallback();
  world.server.commit(USER, TON);
  await world.advance(50);
  assert.equal(shown(element), '0');
  element.connectedCallback();
  assert.equal(shown(element), '1');
  element.client = await world.live({ as: 185 });
  assert.equal(shown(element), '0');
});

test('a currency that the user has not got is shown as nothing, not as zero', async (t) => {
  const world = new World(t);
  const element = mount({ currency: 'STARS' });
  element.client = await world.live();
  assert.equal(element.shadowRoot.children[0].children[0].name, 'slot');
});

test('a client that was set before define() is this element\'s, and can be replaced', async (t) => {
  const world = new World(t);
  world.server.commit(USER, TON);
  const element = new TonBalance();
  // What a page does before the browser knows the class: a property of its own.
  Object.defineProperty(element, 'client', { value: await world.live(), configurable: true, writable: true });
  element.isConnected = true;
  element.connectedCallback();
  assert.equal(shown(element), '1');
  element.client = await world.live({ as: 185 });
  assert.equal(shown(element), '0');
  element.client = null;
  assert.equal(element.shadowRoot.children[0].children[0].name, 'slot');
  assert.deepEqual([element.getAttribute('status'), element.hasAttribute('stale')], [null, false]);
});

test('a client that is set on the class late reaches the elements that are there', async (t) => {
  const world = new World(t);
  t.after(() => (TonBalance.client = null));
  world.server.commit(USER, TON);
  const element = mount({ locale: 'en' });
  assert.equal(element.shadowRoot.children[0].children[0].name, 'slot');
  TonBalance.client = await world.live();
  assert.equal(shown(element), '1');
  TonBalance.client = await world.live({ as: 185 });
  assert.equal(shown(element), '0');
});

test('a second copy of the module shows the same client, and its define() takes the first one\'s element', async (t) => {
  const world = new World(t);
  t.after(() => (TonBalance.client = null));
  world.server.commit(USER, TON);
  const copy = await import('../../../src/web/client/element.js?copy');
  assert.notEqual(copy.TonBalance, TonBalance);
  define('first-balance');
  copy.define('first-balance');
  const element = mount({ locale: 'en' });
  copy.TonBalance.client = await world.live();
  assert.equal(shown(element), '1');
  assert.equal(TonBalance.client, copy.TonBalance.client);
});

test('define() may be called twice, under one name or several; a name that is taken is an error that says so', () => {
  define('one-balance');
  define('one-balance');
  define('two-balance');
  assert.ok(names.get('one-balance').prototype instanceof TonBalance && names.get('two-balance').prototype instanceof TonBalance);
  names.set('its-balance', class {});
  assert.throws(() => define('its-balance'), /<its-balance> is another element already/);
});

test('what is no client is refused where it is given', () => {
  assert.throws(() => (TonBalance.client = {}), /a BalanceClient or null is needed/);
  assert.throws(() => (new TonBalance().client = 'https://b.example'), TypeError);
});

test('an address that is set or changed late makes another connection of the element\'s own', async (t) => {
  const world = new World(t);
  const element = mount({});
  const set = (url) => {
    const before = element.getAttribute('url');
    element.setAttribute('url', url);
    element.attributeChangedCallback('url', before, url);
  };
  assert.equal(element.client, null);
  set('https://first.example');
  const first = element.client;
  assert.equal(first.current.status, 'closed');
  set('https://first.example');
  assert.equal(element.client, first);
  set('https://second.example');
  assert.notEqual(element.client, first);
  element.client = await world.live();
  assert.equal(shown(element), '0');
});

test('a number of decimals that is none does not take the number away', async (t) => {
  const world = new World(t);
  world.server.commit(USER, 1.25 * TON);
  const element = mount({ locale: 'en', 'min-decimals': '200', 'max-decimals': 'two' });
  element.client = await world.live();
  assert.equal(shown(element), '1.25000000000000000000');
});

test('a locale attribute that is no language tag does not take the number away', async (t) => {
  const world = new World(t);
  world.server.commit(USER, 1_234.5 * TON);
  const element = mount({ locale: 'en_US' });
  element.client = await world.live();
  assert.equal(shown(element), '1,234.5');
});
