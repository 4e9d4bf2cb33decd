'use strict';

// Amounts are decimal strings. Nothing here goes through a float: a number is read as the decimal that JavaScript prints for it.

const DECIMALS_MAX = 18;
const MINOR_MAX = 2n ** 63n - 1n;
// A decimal of up to 15 significant digits survives being a number; of one with more, some digits are made up.
const NUMBER_DIGITS_MAX = 15;

const ROUNDINGS = {
  down: () => false,
  up: () => true,
  floor: ({ isNegative }) => isNegative,
  ceil: ({ isNegative }) => !isNegative,
  'half-up': ({ twice }) => twice >= 0,
  'half-even': ({ twice, isOdd }) => twice > 0 || (twice === 0 && isOdd),
};

/** The amount as the service takes it. See index.d.ts. */
function from(value, { decimals, round } = {}) {
  if (!Number.isInteger(decimals) || decimals < 0 || decimals > DECIMALS_MAX) {
    throw new TypeError(`amount.from needs the currency's decimals, 0 to ${DECIMALS_MAX}: { decimals: 9 } for TON; got ${decimals}`);
  }
  if (round !== undefined && !Object.hasOwn(ROUNDINGS, round)) {
    throw new TypeError(`round must be one of ${Object.keys(ROUNDINGS).join(', ')}; got ${round}`);
  }
  const minor = typeof value === 'bigint' ? value : minorOf(value, decimals, round);
  if (minor > MINOR_MAX || minor < -MINOR_MAX) {
    throw new RangeError(`${value} is more than the ledger can hold: 2^63 - 1 of the smallest unit`);
  }
  return textOf(minor, decimals)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
}

function minorOf(value, decimals, round) {
  const { isNegative, digits, scale } = typeof value === 'number' ? numberParts(value, round) : stringParts(value);
  const all = BigInt(digits);
  const sign = isNegative ? -1n : 1n;
  if (scale <= decimals) return sign * all * 10n ** BigInt(decimals - scale);
  const unit = 10n ** BigInt(scale - decimals);
  const [whole, rest] = [all / unit, all % unit];
  if (rest === 0n) return sign * whole;
  if (round === undefined) {
    throw new RangeError(`${value} has more than ${decimals} decimals: say how to round, { round: 'down' } or 'half-even'`);
  }
  const twice = Number(rest * 2n > unit) - Number(rest * 2n < unit);
  return sign * (whole + (ROUNDINGS[round]({ isNegative, twice, isOdd: whole % 2n === 1n }) ? 1n : 0n));
}

function numberParts(value, round) {
  if (!Number.isFinite(value)) throw new TypeError(`${value} is no amount`);
  // The shortest decimal that reads back as this number: 0.1 is "1e-1", 0.1 + 0.2 is "3.0000000000000004e-1".
  const [, sign, lead, rest = '', exponent] = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(value.toExponential());
  const digits = lead + rest;
  if (digits.length > NUMBER_DIGITS_MAX && !Number.isSafeInteger(value) && round === undefined) {
    throw new RangeError(
      `the number ${value} has ${digits.length} digits, of which only ${NUMBER_DIGITS_MAX} are sure: pass a string or a bigint, or say how to round`,
    );
  }
  const scale = rest.length - Number(exponent);
  return { isNegative: sign === '-', digits: digits + '0'.repeat(Math.max(0, -scale)), scale: Math.max(0, scale) };
}

function stringParts(value) {
  const [, sign, whole, fraction = ''] = parse(value);
  return { isNegative: sign === '-', digits: whole + fraction, scale: fraction.length };
}

/** Below zero, zero, or above. */
function compare(a, b) {
  const [x, y] = units(a, b);
  return Number(x > y) - Number(x < y);
}

/** The exact sum, with the longer fraction of the two. */
function add(a, b) {
  const [x, y, decimals] = units(a, b);
  return textOf(x + y, decimals);
}

function parse(amount) {
  const match = typeof amount === 'string' && /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount);
  if (!match)
    throw new TypeError(`not a decimal string such as "0.1": ${typeof amount === 'string' ? JSON.stringify(amount) : String(amount)}`);
  return match;
}

function units(...amounts) {
  const parsed = amounts.map(parse);
  const decimals = Math.max(...parsed.map(([, , , fraction = '']) => fraction.length));
  const unit = ([, sign, whole, fraction = '']) => BigInt(`${whole}${fraction.padEnd(decimals, '0')}`) * (sign ? -1n : 1n);
  return [...parsed.map(unit), decimals];
}

function textOf(minor, decimals) {
  const sign = minor < 0n ? '-' : '';
  const digits = `${minor < 0n ? -minor : minor}`.padStart(decimals + 1, '0');
  return sign + (decimals ? `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : digits);
}

module.exports = { amount: Object.freeze({ from, add, compare }) };
