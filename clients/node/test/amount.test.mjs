import assert from 'node:assert/strict';
import test from 'node:test';

import { amount } from '@balance-coordinator/node';

const ton = (value, round) => amount.from(value, { decimals: 9, ...(round && { round }) });

test('what a number, a bigint and a string become', () => {
  for (const [value, expected] of [
    [0.1, '0.1'],
    [4e-7, '0.0000004'],
    [1e-9, '0.000000001'],
    [-0.5, '-0.5'],
    [0, '0'],
    [-0, '0'],
    [123456.789, '123456.789'],
    [1e9, '1000000000'],
    [1n, '0.000000001'],
    [1_500_000_000n, '1.5'],
    [-5n, '-0.000000005'],
    [2n ** 63n - 1n, '9223372036.854775807'],
    ['0.1', '0.1'],
    ['-3.50', '-3.5'],
    ['007', '7'],
    ['100', '100'],
    ['-0.0', '0'],
    ['9223372036.854775807', '9223372036.854775807'],
    ['0.0000000010000', '0.000000001'],
  ]) {
    assert.equal(ton(value), expected, `${typeof value} ${value}`);
  }
  assert.equal(amount.from(9_007_199_254_740_991, { decimals: 0 }), '9007199254740991');
  assert.equal(amount.from(100n, { decimals: 0 }), '100');
  assert.equal(amount.from('1.5', { decimals: 2 }), '1.5');
});

test('a number whose last digits are not meant is refused, unless rounding is asked for', () => {
  for (const value of [0.1 + 0.2, 1.1 * 3, 123456789.123456789, 2 ** 53]) {
    assert.throws(() => ton(value), { name: 'RangeError', message: /of which only 15 are sure/ }, `${value}`);
  }
  assert.equal(ton(0.1 + 0.2, 'half-even'), '0.3');
  assert.equal(ton(0.1 + 0.2, 'up'), '0.300000001');
  assert.equal(ton(1.1 * 3, 'down'), '3.3');
});

test('more decimals than the currency has are refused, or rounded as it is said', () => {
  assert.throws(() => ton('0.0000000001'), { name: 'RangeError', message: /more than 9 decimals: say how to round/ });
  assert.throws(() => ton(1e-10), { name: 'RangeError', message: /more than 9 decimals/ });
  const roundings = ['down', 'up', 'floor', 'ceil', 'half-up', 'half-even'];
  for (const [value, ...expected] of [
    ['0.4', '0', '1', '0', '1', '0', '0'],
    ['0.5', '0', '1', '0', '1', '1', '0'],
    ['1.5', '1', '2', '1', '2', '2', '2'],
    ['1.51', '1', '2', '1', '2', '2', '2'],
    ['2.5', '2', '3', '2', '3', '3', '2'],
    ['2.500001', '2', '3', '2', '3', '3', '3'],
    ['-0.4', '0', '-1', '-1', '0', '0', '0'],
    ['-2.5', '-2', '-3', '-3', '-2', '-3', '-2'],
    ['7.0', '7', '7', '7', '7', '7', '7'],
  ]) {
    assert.deepEqual(
      roundings.map((round) => amount.from(value, { decimals: 0, round })),
      expected,
      value,
    );
  }
});

test('what is no amount is refused, never guessed', () => {
  const none = [
    NaN,
    Infinity,
    -Infinity,
    '',
    ' 1',
    '1 ',
    '+1',
    '1e3',
    '4e-7',
    '.5',
    '1.',
    '1,5',
    '0x10',
    '١',
    '--1',
    null,
    undefined,
    true,
    {},
    [1],
  ];
  for (const value of none) assert.throws(() => ton(value), TypeError, String(value));
  for (const options of [
    undefined,
    {},
    { decimals: '9' },
    { decimals: -1 },
    { decimals: 1.5 },
    { decimals: 19 },
    { decimals: 9, round: 'nearest' },
  ]) {
    assert.throws(() => amount.from('1', options), TypeError);
  }
  for (const value of ['9223372036.854775808', '-9223372036.854775808', 2n ** 63n, 1e21]) {
    assert.throws(() => ton(value), { name: 'RangeError', message: /more than the ledger can hold/ });
  }
});

test('sums and comparisons are exact', () => {
  assert.equal(amount.add('0.1', '0.2'), '0.3');
  assert.equal(amount.add('1', '-2.50'), '-1.50');
  assert.equal(amount.add('-0.5', '0.5'), '0.0');
  assert.equal(amount.add('9007199254740993', '0.000000001'), '9007199254740993.000000001');
  assert.deepEqual([amount.compare('1.0', '1'), amount.compare('-1', '0.5'), amount.compare('10', '9.999999999')], [0, -1, 1]);
  assert.throws(() => amount.add(0.1, '0.2'), TypeError);
  assert.throws(() => amount.compare('1', ''), TypeError);
});

test('every multiple of the smallest unit comes back from each of its spellings', () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 5_000; round += 1) {
    const minor = BigInt(random(2 ** 31)) * BigInt(random(2 ** 20)) * (random(2) ? 1n : -1n);
    const text = ton(minor);
    assert.equal(ton(text), text);
    assert.equal(ton(`${text.includes('.') ? text : `${text}.`}000`), text);
    if (text.replace(/\D/g, '').length <= 15) assert.equal(ton(Number(text)), text, text);
    assert.equal(amount.compare(amount.add(text, '0.000000001'), text), 1);
  }
});
