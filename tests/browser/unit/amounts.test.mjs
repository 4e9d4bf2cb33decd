import assert from 'node:assert/strict';
import test from 'node:test';
import { add, compare, format } from '../../../src/web/client/balance-client.js';

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
