// The demo page's files, without a browser.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

const web = new URL('../../../src/web/', import.meta.url);
const page = readFileSync(new URL('demo/index.html', web), 'utf8');
const modulesIn = (folder) => readdirSync(new URL(folder, web)).filter((name) => name.endsWith('.js')).map((name) => `/${folder}${name}`);

test('every module that the page needs is loaded at once, not one after the other', () => {
  const loaded = [...page.matchAll(/<(?:link rel="modulepreload" href|script type="module" src)="([^"]+)"/g)].map(([, path]) => path);
  const needed = [...modulesIn('demo/'), ...modulesIn('shared/'), '/client/balance-client.js', '/client/tabs.js'];
  assert.deepEqual(loaded.sort(), needed.sort());
});

test('every word that the page asks for is there in both languages', async () => {
  globalThis.navigator ??= { language: 'en-US' };
  globalThis.document ??= { querySelectorAll: () => [], documentElement: {} };
  const { TEXTS } = await import(new URL('demo/words.js', web));
  const used = new Set([...page.matchAll(/data-(?:text|label)="(\w+)"/g)].map(([, key]) => key));
  for (const status of ['connecting', 'live', 'checked', 'offline', 'polled', 'signedOut', 'misconfigured', 'closed']) used.add(status);
  for (const [language, words] of Object.entries(TEXTS)) assert.deepEqual([...used].filter((key) => !(key in words)), [], language);
  assert.deepEqual(Object.keys(TEXTS.en), Object.keys(TEXTS.ru));
});
