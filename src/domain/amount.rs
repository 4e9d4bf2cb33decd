//! Money: checked integers of minor units, read from and shown as decimal strings.

use std::fmt;

use smallvec::SmallVec;

use super::CurrencyId;

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not `-?digits[.digits]`, or more digits after the point than the currency has, or zero.
    #[error("must be a decimal string other than zero with at most the currency's decimals")]
    Invalid,
    /// Well formed, but beyond ±(2^63 − 1) minor units.
    #[error("is past the storable range")]
    Overflow,
}

/// A signed amount in minor units (10^-decimals of its currency).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From minor units.
    pub const fn from_minor(minor: i64) -> Self {
        Self(minor)
    }

    /// In minor units.
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Reads `-?digits[.digits]` with at most `decimals` digits after the point; zero is refused.
    /// No exponent, no `+`, no spaces, no point at the end; leading zeros are fine.
    ///
    /// # Errors
    /// [`AmountError::Invalid`] for another form, [`AmountError::Overflow`] when it is too large.
    pub fn parse(text: &str, decimals: u8) -> Result<Self, AmountError> {
        match Self::read(text, decimals)? {
            Self::ZERO => Err(AmountError::Invalid),
            amount => Ok(amount),
        }
    }

    /// Reads a balance: an amount as [`Amount::parse`] reads it without a sign, or zero.
    ///
    /// # Errors
    /// As [`Amount::parse`].
    pub fn parse_balance(text: &str, decimals: u8) -> Result<Self, AmountError> {
        if text.starts_with('-') {
            return Err(AmountError::Invalid);
        }
        Self::read(text, decimals)
    }

    fn read(text: &str, decimals: u8) -> Result<Self, AmountError> {
        let (negative, unsigned) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(AmountError::Invalid),
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty()
            || !digits(whole)
            || !digits(fraction)
            || fraction.len() > usize::from(decimals)
        {
            return Err(AmountError::Invalid);
        }
        let padding = std::iter::repeat_n(b'0', usize::from(decimals) - fraction.len());
        let mut minor = 0i64;
        for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
            minor = minor
                .checked_mul(10)
                .and_then(|m| m.checked_add(i64::from(digit - b'0')))
                .ok_or(AmountError::Overflow)?;
        }
        Ok(Self(if negative { -minor } else { minor }))
    }

    /// The sum, or `None` past the storable range.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` past the storable range.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The amount with the other sign, or `None` for −2^63.
    pub const fn checked_neg(self) -> Option<Self> {
        match self.0.checked_neg() {
            Some(negated) => Some(Self(negated)),
            None => None,
        }
    }

    /// The amount without its sign, or `None` for −2^63.
    pub const fn checked_abs(self) -> Option<Self> {
        match self.0.checked_abs() {
            Some(size) => Some(Self(size)),
            None => None,
        }
    }

    /// Shows the amount with exactly `decimals` digits after the point.
    pub const fn display(self, decimals: u8) -> Decimal {
        Decimal {
            minor: self.0,
            decimals,
        }
    }
}

/// An amount ready to be written with all its decimals; made by [`Amount::display`].
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    minor: i64,
    decimals: u8,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let unit = 10u64.pow(u32::from(self.decimals));
        let (whole, fraction) = (
            self.minor.unsigned_abs() / unit,
            self.minor.unsigned_abs() % unit,
        );
        match self.decimals {
            0 => write!(f, "{sign}{whole}"),
            width => write!(
                f,
                "{sign}{whole}.{fraction:0width$}",
                width = usize::from(width)
            ),
        }
    }
}

/// Minor units that may be more than an [`Amount`] holds, such as a sum over users, as a decimal string.
pub fn decimal(minor: u128, decimals: u8) -> String {
    let width = usize::from(decimals) + 1;
    let digits = format!("{minor:0>width$}");
    match digits.split_at(digits.len() - usize::from(decimals)) {
        (whole, "") => whole.to_owned(),
        (whole, fraction) => format!("{whole}.{fraction}"),
    }
}

/// One user's balance of every currency, indexed by [`CurrencyId`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Balances(SmallVec<[i64; 2]>);

impl Clone for Balances {
    fn clone(&self) -> Self {
        // The vector's own `clone` goes number by number.
        Self(SmallVec::from_slice(&self.0))
    }
}

impl Balances {
    /// Zero of every one of `count` currencies.
    pub fn zero(count: usize) -> Self {
        Self(SmallVec::from_elem(0, count))
    }

    /// The balance of one currency.
    pub fn get(&self, currency: CurrencyId) -> Amount {
        Amount(self.0[currency.index()])
    }

    /// Replaces the balance of one currency.
    pub fn set(&mut self, currency: CurrencyId, amount: Amount) {
        self.0[currency.index()] = amount.0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_of_amounts() {
        use AmountError::{Invalid, Overflow};
        for (text, expected) in [
            ("1", Ok(1_000_000_000)),
            ("0.1", Ok(100_000_000)),
            ("-3.5", Ok(-3_500_000_000)),
            ("0.000004250", Ok(4_250)),
            ("000012.5", Ok(12_500_000_000)),
            ("9223372036.854775807", Ok(i64::MAX)),
            ("-9223372036.854775807", Ok(-i64::MAX)),
            ("9223372036.854775808", Err(Overflow)),
            ("99999999999999999999999", Err(Overflow)),
            ("0", Err(Invalid)),
            ("-0.000000000", Err(Invalid)),
            ("0.0000000001", Err(Invalid)),
            ("1.0000000000", Err(Invalid)),
            ("1.", Err(Invalid)),
            (".5", Err(Invalid)),
            ("+1", Err(Invalid)),
            (" 1", Err(Invalid)),
            ("1 ", Err(Invalid)),
            ("1e3", Err(Invalid)),
            ("1,5", Err(Invalid)),
            ("1.2.3", Err(Invalid)),
            ("--1", Err(Invalid)),
            ("", Err(Invalid)),
            ("-", Err(Invalid)),
            ("NaN", Err(Invalid)),
            ("١", Err(Invalid)),
        ] {
            assert_eq!(
                Amount::parse(text, 9).map(Amount::minor),
                expected,
                "{text:?}"
            );
        }
        assert_eq!(Amount::parse("7", 0).map(Amount::minor), Ok(7));
        assert_eq!(Amount::parse("7.0", 0), Err(Invalid));
    }

    #[test]
    fn amounts_are_shown_with_all_their_decimals() {
        for (minor, decimals, expected) in [
            (100_000_000, 9, "0.100000000"),
            (-3_500_000_000, 9, "-3.500000000"),
            (0, 9, "0.000000000"),
            (-1, 2, "-0.01"),
            (5, 0, "5"),
            (i64::MIN, 18, "-9.223372036854775808"),
        ] {
            assert_eq!(Amount(minor).display(decimals).to_string(), expected);
        }
    }

    /// What is shown reads back as the same amount, for every amount and every currency.
    #[test]
    fn shown_amounts_read_back() {
        let any = (-i64::MAX..=i64::MAX, 0u8..=18);
        crate::tests::check(any, |(minor, decimals)| {
            prop_assume!(minor != 0);
            let text = Amount(minor).display(decimals).to_string();
            prop_assert_eq!(Amount::parse(&text, decimals), Ok(Amount(minor)));
            Ok(())
        });
    }

    /// No text makes the parser panic, and what it accepts is never zero.
    #[test]
    fn any_text_is_answered() {
        crate::tests::check(("\\PC{0,40}", 0u8..=18), |(text, decimals)| {
            if let Ok(amount) = Amount::parse(&text, decimals) {
                prop_assert_ne!(amount, Amount::ZERO);
            }
            Ok(())
        });
    }
}
