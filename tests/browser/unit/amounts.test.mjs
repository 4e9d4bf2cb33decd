import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { add, compare, format } from '../../../src/web/client/balance-client.js';
import { randomFrom } from './support/world.mjs';

test('an amount is formatted in the words of a locale, digit by digit', () => {
  for (const [amount, options, expected] of [
    ['1234567.100000000', { locale: 'en' }, '1,234,567.1'],
    ['1234567.100000000', { locale: 'de' }, '1.234.567,1'],
    ['0.100000000', { locale: 'en', minDecimals: 2 }, '0.10'],
    ['5', { locale: 'en', minDecimals: 2 }, '5.00'],
    ['-3.5', { locale: 'en' }, '-3.5'],
    ['0', { locale: 'en' }, '0'],
    ['007.50', { locale: 'en' }, '7.5'],
    ['0.1', { locale: 'en', signDisplay: 'exceptZero' }, '+0.1'],
    ['1.239', { locale: 'en', minDecimals: 4, maxDecimals: 2 }, '1.23'],
  ]) {
    assert.equal(format(amount, options), expected, amount);
  }
});

test('an amount that no float can hold is formatted exactly', () => {
  assert.equal(format('9223372036.854775807', { locale: 'en' }), '9,223,372,036.854775807');
  assert.equal(format('90071992547409.930000001', { locale: 'en', maxDecimals: 9 }), '90,071,992,547,409.930000001');
});

test('what is shown is never more than there is, in any notation', () => {
  for (const [amount, options, expected] of [
    ['0.999999999', { maxDecimals: 2 }, '0.99'],
    ['1.999', { maxDecimals: 0 }, '1'],
    ['-0.999', { maxDecimals: 0 }, '-1'],
    ['-0.009', { maxDecimals: 2, signDisplay: 'always' }, '-0.01'],
    ['0.009', { maxDecimals: 2, signDisplay: 'exceptZero' }, '0'],
    ['1960000', { notation: 'compact', maxDecimals: 1 }, '1.9M'],
    ['1960000', { notation: 'compact' }, '1M'],
    ['999999.9', { notation: 'compact', maxDecimals: 0 }, '999K'],
    ['0.129', { style: 'percent', maxDecimals: 0 }, '12%'],
    ['1.99', { maximumSignificantDigits: 2 }, '1.9'],
    ['1.99', { maxDecimals: 1, roundingMode: 'ceil' }, '1.9'],
  ]) {
    assert.equal(format(amount, { locale: 'en', ...options }), expected, amount);
  }
});

test('a number of decimals that is none is as if none were asked for', () => {
  const amount = '1.239';
  for (const none of [undefined, null, NaN, -1, 'two']) {
    assert.equal(format(amount, { locale: 'en', minDecimals: none, maxDecimals: none }), amount, `${none}`);
  }
  assert.equal(format(amount, { locale: 'en', minDecimals: '4', maxDecimals: '2' }), '1.23');
  assert.equal(format(amount, { locale: 'en', maxDecimals: 1.9 }), '1.2');
  assert.equal(format(`0.${'9'.repeat(150)}`, { locale: 'en', minDecimals: 500 }), `0.${'9'.repeat(20)}`);
});

const seed = Number(process.env.BALANCE_TEST_SEED ?? randomInt(2 ** 31));

/** Reads what `format` wrote, in Latin digits: a rational as [numerator, denominator]. Knows the words of compact notation. */
function read(text, locale, { notation, style }) {
  const numbers = new Intl.NumberFormat(locale, { numberingSystem: 'latn' });
  const sign = (type) => numbers.formatToParts(-1234567.5).find((part) => part.type === type).value;
  const isNegative = text.split(/\d/)[0].includes(sign('minusSign'));
  const [, digits, rest] = /([\d.,\s\u00a0\u202f'’٬]*\d)(.*)/su.exec(text.replaceAll(sign('decimal'), '~').replaceAll(/[.,\s\u00a0\u202f'’٬](?=\d)/gu, '').replaceAll('~', '.'));
  const [whole, fraction = ''] = digits.split('.');
  let [top, bottom] = [BigInt(whole + fraction), 10n ** BigInt(fraction.length)];
  if (style === 'percent') bottom *= 100n;
  if (notation === 'compact') top *= 10n ** BigInt(powers(locale).get(rest.trim()) ?? assert.fail(`"${rest}" in ${locale}`));
  if (notation === 'scientific' || notation === 'engineering') {
    const [, minus, power] = /(?:E|×10\^)\D*?([-−]?)(\d+)/.exec(rest);
    if (minus) bottom *= 10n ** BigInt(power);
    else top *= 10n ** BigInt(power);
  }
  return [isNegative ? -top : top, bottom];
}

/** The words of compact notation, and the power of ten that each stands for. */
function powers(locale) {
  const found = new Map([['', 0]]);
  const numbers = new Intl.NumberFormat(locale, { notation: 'compact', numberingSystem: 'latn', maximumFractionDigits: 0 });
  for (let power = 3; power < 24; power += 1) {
    for (const first of ['1', '5']) {
      const text = numbers.format(first.padEnd(power + 1, '0'));
      const [, digits, word] = /([\d.,\s\u00a0\u202f]*\d)(.*)/su.exec(text);
      if (word) found.set(word.trim(), power + 1 - digits.replace(/\D/g, '').length);
    }
  }
  return found;
}

test('whatever the amount, the locale, the notation and the rounding: never more than there is, and all of it where no digits are cut off', (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = randomFrom(seed);
  const below = (limit) => Math.floor(random() * limit);
  const pick = (list) => list[below(list.length)];
  const digit = () => (random() < 0.5 ? 9 : below(10));
  for (let n = 0; n < 4_000; n += 1) {
    const digits = (length) => Array.from({ length }, digit).join('');
    const fraction = below(10);
    const amount = `${pick(['', '', '-'])}${digits(1 + below(16))}${fraction ? `.${digits(fraction)}` : ''}`;
    const locale = pick(['en', 'de', 'ru', 'fr', 'ja', 'de-CH', 'pt-BR', 'en-IN', 'sv', 'pl', 'fa', 'hi']);
    const options = {
      minDecimals: pick([undefined, 0, 1, 4]),
      maxDecimals: pick([undefined, 0, 1, 2, 3, 9]),
      notation: pick([undefined, 'standard', 'compact', 'scientific', 'engineering']),
      style: pick([undefined, undefined, 'percent']),
      signDisplay: pick([undefined, 'auto', 'always', 'exceptZero', 'negative']),
      roundingMode: pick([undefined, 'ceil', 'expand', 'halfExpand']),
      maximumSignificantDigits: pick([undefined, undefined, undefined, 2, 5]),
      useGrouping: pick([undefined, false]),
    };
    for (const name of Object.keys(options)) if (options[name] === undefined) delete options[name];
    // Only these languages' words are read back here.
    if (options.notation === 'compact' && options.style === 'percent') delete options.style;
    const text = format(amount, { locale, numberingSystem: 'latn', ...options });
    const [top, bottom] = read(text, locale, options);
    const [, minus, whole, decimals = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount);
    const there = [BigInt(minus + whole + decimals), 10n ** BigInt(decimals.length)];
    const what = `${amount} as "${text}" with ${JSON.stringify({ locale, ...options })}; BALANCE_TEST_SEED=${seed}`;
    assert.ok(top * there[1] <= there[0] * bottom, what);
    const isPlain = [undefined, 'standard'].includes(options.notation) && !options.style && !options.maximumSignificantDigits;
    if (isPlain && options.maxDecimals === undefined) assert.equal(top * there[1], there[0] * bottom, what);
    if (there[0] === 0n) assert.doesNotMatch(text, /[-−]/, what);
  }
});

test('a zero has no sign', () => {
  assert.equal(format('-0.000', { locale: 'en', maxDecimals: 2 }), '0');
});

test('a locale that is no language tag is read as one where it can be, and never throws', () => {
  const here = format('1234.5');
  for (const [locale, expected] of [
    ['en_US', '1,234.5'],
    ['de_DE.UTF-8', '1.234,5'],
    ['en-US@posix', '1,234.5'],
    [['not a tag', 'de'], '1.234,5'],
    ['not a tag', here],
    ['', here],
    [null, here],
    [[], here],
  ]) {
    assert.equal(format('1234.5', { locale }), expected, `${locale}`);
  }
});

test('what is no decimal string is refused', () => {
  for (const amount of [0.1, 1n, null, undefined, '', '.5', '1.', '1e3', '+1', ' 1', '1,5', '--1']) {
    assert.throws(() => format(amount), TypeError);
    assert.throws(() => compare(amount, '1'), TypeError);
    assert.throws(() => add('1', amount), TypeError);
  }
});

test('amounts are compared by value', () => {
  for (const [a, b, expected] of [
    ['0.1', '0.100000000', 0],
    ['-0', '0', 0],
    ['10', '9.999999999', 1],
    ['-1', '0.000000001', -1],
    ['-2', '-1', -1],
    ['9007199254740993', '9007199254740992', 1],
  ]) {
    assert.equal(compare(a, b), expected, `${a} ${b}`);
    assert.equal(compare(b, a), expected === 0 ? 0 : -expected, `${b} ${a}`);
  }
});

test('sums are exact and keep the longer fraction', () => {
  for (const [a, b, expected] of [
    ['0.1', '0.2', '0.3'],
    ['0.100000000', '0.2', '0.300000000'],
    ['1', '2', '3'],
    ['0.05', '-0.06', '-0.01'],
    ['-0.5', '0.5', '0.0'],
    ['9007199254740993.000000001', '0.000000001', '9007199254740993.000000002'],
  ]) {
    assert.equal(add(a, b), expected, `${a} + ${b}`);
  }
});
