//! `entries.other_balances`: a user's balances in all other currencies after an entry. With the entry's own they are all
//! balances at its version, in one row.
//!
//! A JSON object of codes and minor units in the order of codes, without zeros: one text for the same balances. NULL when all
//! are zero. On PostgreSQL the column has a default, [`NOT_TOLD`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::domain::{Balances, Currencies, CurrencyId};

/// Of an entry that was written by a node of an earlier version, or by hand: its balances are to be looked for.
const NOT_TOLD: &str = "?";

/// Minor units by code, without zeros.
pub(in crate::ledger) type Others = BTreeMap<String, i64>;

/// What is neither [`NOT_TOLD`] nor written as the service writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Malformed;

/// All balances but that of the entry's own currency.
pub(in crate::ledger) fn text(
    balances: &Balances,
    own: CurrencyId,
    currencies: &Currencies,
) -> Option<String> {
    let others = currencies.iter().filter(|(id, _)| *id != own);
    render(others.map(|(id, currency)| (currency.code.as_str(), balances.get(id).minor())))
}

/// `None` where the entry does not tell them.
pub(in crate::ledger) fn parse(text: Option<&str>) -> Result<Option<Others>, Malformed> {
    match text {
        None => Ok(Some(Others::new())),
        Some(NOT_TOLD) => Ok(None),
        Some(text) => {
            let others: Others = serde_json::from_str(text).map_err(|_| Malformed)?;
            let rendered = render(others.iter().map(|(code, minor)| (code.as_str(), *minor)));
            match rendered.as_deref() == Some(text) {
                true => Ok(Some(others)),
                false => Err(Malformed),
            }
        }
    }
}

/// Codes need no escapes.
fn render<'a>(all: impl Iterator<Item = (&'a str, i64)>) -> Option<String> {
    let mut text = String::new();
    for (code, minor) in all.filter(|(_, minor)| *minor != 0) {
        text.push(if text.is_empty() { '{' } else { ',' });
        // Writing to a string does not fail.
        let _ = write!(text, "\"{code}\":{minor}");
    }
    if text.is_empty() {
        return None;
    }
    text.push('}');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Amount;

    #[test]
    fn other_balances_are_read_as_they_were_written() {
        let codes = ["A", "B_1", "TON", "UNI"];
        let currencies =
            Currencies::new(codes.map(|code| (code.to_owned(), 9))).expect("currencies");
        let id = |code| currencies.find(code).expect("there");
        let mut balances = Balances::zero(4);
        assert_eq!(text(&balances, id("TON"), &currencies), None);
        balances.set(id("TON"), Amount::from_minor(5));
        assert_eq!(text(&balances, id("TON"), &currencies), None);
        balances.set(id("UNI"), Amount::from_minor(i64::MAX));
        balances.set(id("A"), Amount::from_minor(1));
        for (own, expected) in [
            ("TON", r#"{"A":1,"UNI":9223372036854775807}"#),
            ("UNI", r#"{"A":1,"TON":5}"#),
            ("B_1", r#"{"A":1,"TON":5,"UNI":9223372036854775807}"#),
        ] {
            let written = text(&balances, id(own), &currencies).expect("others");
            assert_eq!(written, expected);
            let read = parse(Some(&written)).expect("well formed").expect("told");
            for code in codes.into_iter().filter(|code| *code != own) {
                let minor = balances.get(id(code)).minor();
                assert_eq!(read.get(code).copied().unwrap_or(0), minor, "{own} {code}");
            }
        }
    }

    #[test]
    fn one_text_stands_for_the_same_balances_and_others_are_malformed() {
        assert_eq!(parse(None), Ok(Some(Others::new())));
        assert_eq!(parse(Some("?")), Ok(None));
        for malformed in [
            "",
            "{}",
            "null",
            "x",
            "[1]",
            "{\"A\":0}",
            "{\"A\":1, \"B\":2}",
            "{\"B\":2,\"A\":1}",
            "{\"A\":1,\"A\":1}",
            "{\"A\":1.0}",
            "{\"A\":\"1\"}",
            "{\"A\":9223372036854775808}",
            "{\"A\":1",
            " {\"A\":1}",
        ] {
            assert_eq!(parse(Some(malformed)), Err(Malformed), "{malformed}");
        }
    }
}
