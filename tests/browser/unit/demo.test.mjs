// The demo page's files, without a browser.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

const web = new URL('../../../src/web/', import.meta.url);
const page = readFileSync(new URL('demo/index.html', web), 'utf8');
const modulesIn = (folder) => readdirSync(new URL(folder, web)).filter((name) => name.endsWith('.js')).map((name) => `/${folder}${name}`);

test('all that the page needs comes in one round of six requests: two style sheets, its script, the library, and its token', () => {
  const loaded = [...page.matchAll(/<(?:link rel="(?:modulepreload|stylesheet)" href|script type="module" src)="([^"]+)"/g)].map(([, path]) => path);
  assert.deepEqual(loaded, ['/demo/demo.css', '/demo/bench.css', '/client/balance-client.js', '/client/tabs.js', '/demo/demo.js']);
});

test('the modules of the pages keep to the style that the build puts together', () => {
  for (const folder of ['demo/', 'admin/', 'shared/']) {
    for (const path of modulesIn(folder)) {
      const source = readFileSync(new URL(`.${path}`, web), 'utf8');
      for (const [line] of source.matchAll(/^(?:import|export)\b.*$/gm)) {
        assert.match(line, /^import (?:\{ [\w, ]+ \} from )?'[./\w-]+';$|^export (?:async function\*?|function|class|const) \w+/, path);
      }
    }
  }
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
