// The findings in Russian: every title, next step and evidence that the service's source has.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

const root = new URL('../../../', import.meta.url);
globalThis.navigator ??= { language: 'en-US' };
globalThis.document ??= { querySelectorAll: () => [], documentElement: {} };
const { TEXTS } = await import(new URL('src/web/admin/words.js', root));
const { learn } = await import(new URL('src/web/shared/text.js', root));
const { RUSSIAN } = await import(new URL('src/web/admin/findings-words.js', root));
const { CODES, inRussian, needed } = await import(new URL('src/web/admin/findings-evidence.js', root));

/** The source of the rules, without comments and tests. Risks of the settings are told by `diagnose` alone. */
const rules = ['findings.rs', 'lately.rs', 'standing.rs']
  .map((name) => readFileSync(new URL(`src/diagnosis/${name}`, root), 'utf8').split('#[cfg(test)]')[0].replaceAll(/^\s*\/\/.*$/gm, ''))
  .join('\n');
const literals = [...rules.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, words]) => words);

test('every title and next step of the rules has Russian words, and no words are left over', () => {
  const told = literals.filter((words) => /^[A-Z].* /.test(words) && !words.includes('{'));
  assert.ok(told.length > 30, `${told.length}`);
  assert.deepEqual(told.filter((words) => !(words in RUSSIAN)), []);
  assert.deepEqual(Object.keys(RUSSIAN).filter((words) => !literals.includes(words)), []);
});

test('every code of the rules has its evidence in Russian', () => {
  const codes = [...new Set(literals.filter((word) => /^[a-z]+(_[a-z]+)+$|^violations$|^conflicts$|^crowd$/.test(word)))];
  assert.deepEqual(CODES.filter((code) => !codes.includes(code)), [], 'no words are left over');
  // As they are documented, by how they end.
  const documented = readFileSync(new URL('docs/protocol.md', root), 'utf8').match(/By how each\s+finding ends:\s+([^]*?)\n\n`/)[1];
  const named = [...documented.matchAll(/`(\w+)`/g)].map(([, code]) => code);
  assert.ok(named.length > 20);
  assert.deepEqual(named.toSorted(), CODES.toSorted());
});

test('evidence needs values that the rules tell, and without them it stays English', () => {
  globalThis.localStorage = { getItem: () => 'ru' };
  learn(TEXTS, 'balance-admin');
  try {
    for (const code of CODES) {
      assert.deepEqual(needed(code).filter((name) => !rules.includes(`"${name}":`)), [], code);
      if (needed(code).length) assert.equal(inRussian({ code, values: {} }), null, code);
    }
    assert.equal(inRussian({ code: 'of_a_later_version', values: {} }), null);
    const told = (code, values) => inRussian({ code, values }).map((part) => part.english ?? part.replaceAll('\u00a0', ' ')).join('');
    assert.equal(told('conflicts', { count: 21, by_kind: { deposit: 21 }, users: [184, 7], window_s: 900 }), '21 отказ за последние 15 мин (пополнение 21), пользователь 184, 7');
    assert.equal(told('conflicts', { count: 1, by_kind: { reward: 1 }, users: [], window_s: null }), '1 отказ с запуска (награда 1)');
    assert.equal(told('source_silent', { kind: 'reward', seconds: 1_800 }), 'последняя запись вида «награда» была 30 мин назад');
    assert.equal(told('ledger_errors', { by_kind: { busy: 3 }, window_s: 900 }), 'busy 3 за последние 15 мин');
    assert.deepEqual(inRussian({ code: 'audit_failed', values: { at: '2020-02-03T12:00:00Z', reason: 'no such table' } })[1], { english: 'no such table' });
  } finally {
    delete globalThis.localStorage;
  }
});
