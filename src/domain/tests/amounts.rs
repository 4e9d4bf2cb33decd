//! Amounts, compared with arithmetic on digits.

use proptest::prelude::*;

use super::super::{Amount, AmountError};
use crate::tests::{check, spoiled_text};

/// The minor units of a text by its grammar, in integers that cannot overflow.
fn model(text: &str, decimals: u8) -> Result<i64, AmountError> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let parts: Vec<&str> = unsigned.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.chars().all(|c| "0123456789".contains(c));
    if parts.len() > 2
        || !parts.iter().all(digits)
        || parts
            .get(1)
            .is_some_and(|part| part.len() > usize::from(decimals))
    {
        return Err(AmountError::Invalid);
    }
    let fraction = parts.get(1).copied().unwrap_or_default();
    let minor = format!(
        "{}{fraction:0<width$}",
        parts[0],
        width = usize::from(decimals)
    );
    match minor.trim_start_matches('0') {
        "" => Err(AmountError::Invalid),
        digits if digits.len() > 30 => Err(AmountError::Overflow),
        digits => {
            let minor: i128 = digits.parse().expect("30 digits fit");
            let signed = if text.starts_with('-') { -minor } else { minor };
            // One below: -2^63 has no counterpart, so it is refused, too.
            i64::try_from(signed)
                .ok()
                .filter(|minor| *minor != i64::MIN)
                .ok_or(AmountError::Overflow)
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    let near_the_end = (any::<i8>(), 0_u8..=18)
        .prop_map(|(off, decimals)| (i128::from(i64::MAX) + i128::from(off), decimals))
        .prop_map(|(minor, decimals)| {
            let unit = 10_i128.pow(decimals.into());
            format!(
                "{}.{:0width$}",
                minor / unit,
                minor % unit,
                width = usize::from(decimals)
            )
        });
    prop_oneof![
        4 => "-?[0-9]{1,20}(\\.[0-9]{1,19})?",
        2 => near_the_end,
        1 => "[-+0-9.,eExX_ ]{0,14}",
        1 => "0{1,40}[0-9]{0,4}(\\.0{0,20})?",
        1 => "\\PC{0,20}",
    ]
}

#[test]
fn an_amount_is_what_its_digits_say_or_is_refused() {
    check((spoiled_text(text()), 0_u8..=18), |(text, decimals)| {
        let parsed = Amount::parse(&text, decimals).map(Amount::minor);
        prop_assert_eq!(
            parsed,
            model(&text, decimals),
            "{:?} with {} decimals",
            text,
            decimals
        );
        let balance = Amount::parse_balance(&text, decimals).map(Amount::minor);
        let zeros = |part: &str| !part.is_empty() && part.bytes().all(|b| b == b'0');
        let is_zero = match text.split_once('.') {
            Some((whole, fraction)) => {
                zeros(whole) && zeros(fraction) && fraction.len() <= usize::from(decimals)
            }
            None => zeros(&text),
        };
        let expected = match model(&text, decimals) {
            Err(AmountError::Invalid) if is_zero => Ok(0),
            Ok(_) if text.starts_with('-') => Err(AmountError::Invalid),
            Err(AmountError::Overflow) if text.starts_with('-') => Err(AmountError::Invalid),
            other => other,
        };
        prop_assert_eq!(balance, expected, "{:?} as a balance", text);
        if let Ok(minor) = parsed {
            let shown = Amount::from_minor(minor).display(decimals).to_string();
            prop_assert_eq!(
                Amount::parse(&shown, decimals).map(Amount::minor),
                Ok(minor)
            );
            prop_assert!(
                text.bytes()
                    .all(|b| b.is_ascii_digit() || b == b'-' || b == b'.'),
                "{:?}",
                text
            );
        }
        Ok(())
    });
}
