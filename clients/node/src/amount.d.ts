/** A decimal string such as `"0.1"`, never a number. The service answers with all decimals of the currency: `"0.100000000"`. */
export type Amount = string;

/**
 * - `down`: towards zero; `up`: away from it
 * - `floor`: downwards; `ceil`: upwards
 * - `half-up`: to the nearest, a half away from zero; `half-even`: to the nearest, a half to the even digit
 */
export type Rounding = 'down' | 'up' | 'floor' | 'ceil' | 'half-up' | 'half-even';

export const amount: {
  /**
   * The amount as the service takes it, without zeros at its end.
   *
   * - A string is a decimal string: `"0.1"`, `"-3.50"`. No exponent, no `+`, no blanks.
   * - A number is the decimal that JavaScript prints for it: `0.1` is 0.1, and `4e-7` is 0.0000004. One with more than 15 digits,
   *   such as `0.1 + 0.2` (0.30000000000000004), is refused unless `round` is given: not all of its digits are meant.
   * - A bigint counts the currency's *smallest* units: `5n` is 0.000000005 with 9 decimals.
   *
   * Throws a TypeError for what is no amount, and a RangeError for more decimals than the currency has (unless `round` is given)
   * and for more than the ledger can hold.
   */
  from(value: number | bigint | string, options: { decimals: number; round?: Rounding | undefined }): Amount;
  /** The exact sum, with the longer fraction of the two. */
  add(a: Amount, b: Amount): Amount;
  /** Below zero, zero, or above: for sorting and conditions. */
  compare(a: Amount, b: Amount): -1 | 0 | 1;
};
