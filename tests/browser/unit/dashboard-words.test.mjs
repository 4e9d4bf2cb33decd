// The dashboard's words and numbers, in both languages.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

const folder = new URL('../../../src/web/admin/', import.meta.url);
globalThis.navigator ??= { language: 'en-US' };
globalThis.document ??= { querySelectorAll: () => [], documentElement: {} };
const { TEXTS } = await import(new URL('words.js', folder));
const { clock, countdown, duration, explain, learn, number, plural, text, time, zone } = await import(new URL('../shared/text.js', folder));

const plain = (words) => words.replaceAll('\u00a0', ' ');

test('every word that the page asks for is there in both languages', () => {
  const page = readFileSync(new URL('index.html', folder), 'utf8');
  const used = new Set([...page.matchAll(/data-(?:text|label)="(\w+)"/g)].map(([, key]) => key));
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.js') && name !== 'words.js')) {
    const source = readFileSync(new URL(name, folder), 'utf8');
    for (const [, key] of source.matchAll(/text\('(\w+)'/g)) used.add(key);
  }
  assert.ok(used.size > 50, `${used.size}`);
  for (const [language, words] of Object.entries(TEXTS)) {
    assert.deepEqual([...used].filter((key) => !(key in words)), [], language);
  }
  assert.deepEqual(Object.keys(TEXTS.en), Object.keys(TEXTS.ru));
  // Of two texts under one key the first would be lost.
  const keys = [...readFileSync(new URL('words.js', folder), 'utf8').matchAll(/(?<=[{,] )(\w+): (?=['"(])|(?<=^ {4})(\w+): (?=['"(])/gm)].map(([, one, other]) => one ?? other);
  const doubled = keys.filter((key) => keys.filter((other) => other === key).length > 2 && key in TEXTS.en);
  assert.deepEqual([...new Set(doubled)].filter((key) => !['one', 'few', 'many', 'other'].includes(key)), []);
  for (const key of Object.keys(TEXTS.en)) assert.equal(typeof TEXTS.en[key], typeof TEXTS.ru[key], key);
});

test('what the page has before its script is the English that the script writes', () => {
  const page = readFileSync(new URL('index.html', folder), 'utf8');
  const texts = [...page.matchAll(/data-text="(\w+)"[^>]*>([^<]*)</g)];
  const labels = [...page.matchAll(/data-label="(\w+)" aria-label="([^"]*)"/g)];
  assert.ok(texts.length > 30 && labels.length > 5);
  for (const [, key, words] of [...texts, ...labels]) assert.equal(words, TEXTS.en[key], key);
});

test('a word that is not known stands as it is', () => {
  assert.equal(text('a_new_rule'), 'a_new_rule');
});

test('a length of time is as short as it is still right', () => {
  const cases = [[null, '–'], [0, '0 ms'], [0.456, '0.46 ms'], [12.6, '13 ms'], [999, '999 ms'], [1_500, '1.5 s'], [59_000, '59 s'], [90_000, '1.5 min'], [7_200_000, '2 h'], [864_000_000, '10 d']];
  for (const [ms, words] of cases) assert.equal(plain(duration(ms)), words);
});

test('what is left is told in tenths at the end, and never as nothing before it is', () => {
  const cases = [[0, '0.0 s'], [1, '0.1 s'], [4_321, '4.4 s'], [59_999, '60.0 s'], [60_000, '1:00'], [61_001, '1:02'], [3_600_000, '1:00:00'], [3_725_000, '1:02:05']];
  for (const [ms, words] of cases) assert.equal(plain(countdown(ms)), words, `${ms}`);
});

test('times have the day when it is not today, and no time is a dash', () => {
  assert.equal(time(null), '–');
  assert.match(time(new Date().toISOString()), /^\d\d:\d\d:\d\d$/);
  assert.match(time('2020-02-03T12:00:00.123456Z'), /2020/);
  assert.match(clock(0), /^\d\d:\d\d:\d\d$/);
  assert.ok(zone().length > 2);
});

test('numbers are grouped and cut', () => {
  assert.deepEqual([number(1_234_567), number(0.456, 1), number(2, 1)], ['1,234,567', '0.5', '2']);
});

test('a failure is explained: known codes in words, others as the service tells them', () => {
  assert.equal(explain(new TypeError('Failed to fetch')), TEXTS.en.error_unreachable);
  assert.equal(explain(Object.assign(new Error('x'), { code: 'silent' })), TEXTS.en.error_silent);
  assert.equal(explain(Object.assign(new Error('what it says'), { code: 'invalid_field' })), 'what it says');
  assert.equal(explain(new Error('what it says')), 'what it says');
});

test('a count has its noun in the right form, in both languages', () => {
  const told = (language, ...counts) => {
    globalThis.localStorage = { getItem: () => language };
    learn(TEXTS, 'balance-admin');
    return counts.map((count) => plain(text('sessionCount', count)));
  };
  try {
    assert.deepEqual(told('en', 0, 1, 2, 21, 1_001), ['0 sessions', '1 session', '2 sessions', '21 sessions', '1,001 sessions']);
    assert.deepEqual(told('ru', 0, 1, 2, 4, 5, 11, 12, 21, 22, 25, 111), [
      '0 сессий', '1 сессия', '2 сессии', '4 сессии', '5 сессий', '11 сессий', '12 сессий', '21 сессия', '22 сессии', '25 сессий', '111 сессий',
    ]);
    const all = Object.entries(TEXTS.ru).filter(([name]) => /Count$/.test(name));
    assert.ok(all.length >= 4);
    for (const [name, words] of all) assert.equal(new Set([1, 2, 5].map((count) => words(count).replaceAll(/\d/g, ''))).size, 3, name);
  } finally {
    told('en');
    delete globalThis.localStorage;
  }
});

test('without Intl numbers and times are plain, and nothing fails', () => {
  const { Intl } = globalThis;
  globalThis.localStorage = { getItem: () => 'ru' };
  try {
    delete globalThis.Intl;
    // Formats that were made before are not asked.
    learn(TEXTS, 'balance-admin');
    assert.deepEqual([number(1_234.56, 1), number(null), plain(plural(1, { one: 'узел', other: 'узлов' }))], ['1234.6', '0', '1 узел']);
    assert.deepEqual([plain(duration(1_540)), plain(countdown(4_321)), clock(0), zone()], ['1.5 с', '4.4 с', '00:00:00Z', 'UTC']);
    assert.equal(time('2020-02-03T12:00:00.123456Z'), '2020-02-03 12:00:00Z');
  } finally {
    globalThis.Intl = Intl;
    globalThis.localStorage = { getItem: () => 'en' };
    learn(TEXTS, 'balance-admin');
    delete globalThis.localStorage;
  }
});
