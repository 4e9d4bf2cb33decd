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
    ['1.239', { locale: 'en', minDecimals: 4, maxDecimals: 2 }, '1.2300'],
  ]) {
    assert.equal(format(amount, options), expected, amount);
  }
});

test('an amount that no float can hold is formatted exactly', () => {
  assert.equal(format('9223372036.854775807', { locale: 'en' }), '9,223,372,036.854775807');
  assert.equal(format('90071992547409.930000001', { locale: 'en', maxDecimals: 9 }), '90,071,992,547,409.930000001');
});

test('digits beyond maxDecimals are cut off, never rounded up', () => {
  assert.equal(format('0.999999999', { locale: 'en', maxDecimals: 2 }), '0.99');
  assert.equal(format('-0.999', { locale: 'en', maxDecimals: 0 }), '0');
  assert.equal(format('1.999', { locale: 'en', maxDecimals: 0 }), '1');
});

test('a zero has no sign', () => {
  assert.equal(format('-0.000000001', { locale: 'en', maxDecimals: 2 }), '0');
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
