// The dashboard's words and numbers, in both languages.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

const folder = new URL('../../../src/web/admin/', import.meta.url);
globalThis.navigator ??= { language: 'en-US' };
globalThis.document ??= { querySelectorAll: () => [], documentElement: {} };
const { TEXTS } = await import(new URL('words.js', folder));
const { clock, countdown, duration, explain, number, text, time, zone } = await import(new URL('../shared/text.js', folder));

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
