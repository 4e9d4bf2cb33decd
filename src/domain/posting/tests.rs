//! The rule as a table, and its invariants for any sequence of entries.

mod reversals;

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{Currencies, Reversal, Source};

const RULES: Rules = Rules { auto_create: true };

fn currency(code: &str) -> CurrencyId {
    Currencies::default()
        .find(code)
        .expect("a default currency")
}

fn plain(code: &str, minor: i64) -> Change {
    Change::Plain {
        currency: currency(code),
        amount: Amount::from_minor(minor),
    }
}

fn decide(
    account: &Account,
    by_event: Option<&Recorded>,
    by_hash: Option<&Recorded>,
    entry: &NewEntry,
    rules: Rules,
) -> Outcome {
    let found = Found {
        by_event,
        by_hash,
        reversible: None,
    };
    post(account, found, entry, rules)
}

fn minor(entry: &NewEntry) -> i64 {
    let (_, amount) = entry.change.plain().expect("no reversal");
    amount.minor()
}

fn entry(event: &str, amount_minor: i64) -> NewEntry {
    NewEntry {
        event_id: EventId::parse(event).expect("event id"),
        user_id: UserId::new(184).expect("user id"),
        kind: Kind::Reward,
        change: plain("UNI", amount_minor),
        source: Source::from(Kind::Reward),
        tx_hash: None,
        details: None,
    }
}

fn hash(byte: u8) -> TxHash {
    TxHash::from_slice(&[byte; 32]).expect("32 bytes")
}

fn deposit(event: &str, tx_hash: Option<TxHash>) -> NewEntry {
    NewEntry {
        kind: Kind::Deposit,
        tx_hash,
        ..entry(event, 5)
    }
}

fn account(uni_minor: i64) -> Account {
    let mut balances = Balances::zero(2);
    balances.set(currency("UNI"), Amount::from_minor(uni_minor));
    Account {
        exists: true,
        version: 7,
        balances,
    }
}

fn recorded(entry: &NewEntry) -> Recorded {
    let (currency, amount) = entry.change.plain().expect("no reversal");
    let applied = Applied {
        currency,
        amount,
        reversed: None,
    };
    Recorded::of(entry, &applied, 3, 1_000)
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Duplicate(_) => "duplicate",
        Outcome::Conflict(_) => "conflict",
        Outcome::UnknownUser => "unknown_user",
        Outcome::AmountOverflow => "amount_overflow",
        Outcome::InsufficientFunds { .. } => "insufficient_funds",
        Outcome::UnknownEntry => "unknown_entry",
        Outcome::NotReversible => "not_reversible",
        Outcome::WrongCurrency => "wrong_currency",
        Outcome::InvalidAmount => "invalid_amount",
        Outcome::ExceedsOriginal { .. } => "exceeds_original",
    }
}

#[test]
fn accepted_entries_make_the_next_version_and_touch_one_currency() {
    let outcome = decide(&account(10), None, None, &entry("e", 5), RULES);
    let mut balances = account(15).balances;
    balances.set(currency("TON"), Amount::ZERO);
    assert_eq!(
        outcome,
        Outcome::Accepted {
            version: 8,
            balances,
            applied: Applied {
                currency: currency("UNI"),
                amount: Amount::from_minor(5),
                reversed: None,
            },
        }
    );
}

#[test]
fn fresh_entries_meet_user_range_and_floor_in_this_order() {
    let closed = Rules { auto_create: false };
    let unknown = Account::unknown(2);
    for (account, amount, rules, expected) in [
        (&account(0), 1, RULES, "accepted"),
        (&account(5), -5, RULES, "accepted"),
        (&account(5), -6, RULES, "insufficient_funds"),
        (&account(i64::MAX), 1, RULES, "amount_overflow"),
        (&account(i64::MAX - 1), 1, RULES, "accepted"),
        (&unknown, 1, RULES, "accepted"),
        (&unknown, -1, RULES, "insufficient_funds"),
        (&unknown, 1, closed, "unknown_user"),
        (&unknown, -1, closed, "unknown_user"),
        (&account(5), 1, closed, "accepted"),
    ] {
        assert_eq!(
            name(&decide(account, None, None, &entry("e", amount), rules)),
            expected,
            "{account:?} {amount}"
        );
    }
    let refused = decide(&account(5), None, None, &entry("e", -6), RULES);
    assert_eq!(
        refused,
        Outcome::InsufficientFunds {
            available: Amount::from_minor(5),
            currency: currency("UNI"),
        }
    );
}

#[test]
fn a_known_event_is_a_duplicate_only_when_nothing_differs() {
    let first = entry("e", 5);
    let record = recorded(&first);
    let other_user = NewEntry {
        user_id: UserId::new(185).expect("user id"),
        ..first.clone()
    };
    let other_kind = NewEntry {
        kind: Kind::Deposit,
        ..first.clone()
    };
    let other_currency = NewEntry {
        change: plain("TON", 5),
        ..first.clone()
    };
    let other_source = NewEntry {
        source: Source::parse("elsewhere").expect("source"),
        ..first.clone()
    };
    for (again, expected) in [
        (&first, "duplicate"),
        (&other_source, "duplicate"),
        (&entry("e", 6), "conflict"),
        (&other_user, "conflict"),
        (&other_kind, "conflict"),
        (&other_currency, "conflict"),
    ] {
        assert_eq!(
            name(&decide(&account(0), Some(&record), None, again, RULES)),
            expected,
            "{again:?}"
        );
    }
    // The record decides even where the balance or the user would refuse.
    let spent = recorded(&entry("w", -5));
    let outcome = decide(
        &Account::unknown(2),
        Some(&spent),
        None,
        &entry("w", -5),
        Rules { auto_create: false },
    );
    assert_eq!(outcome, Outcome::Duplicate(spent));
}

#[test]
fn a_deposit_is_known_by_its_event_and_by_its_hash() {
    let both = recorded(&deposit("x", Some(hash(1))));
    let bare = recorded(&deposit("x", None));
    let other = Recorded {
        version: 4,
        ..recorded(&deposit("y", Some(hash(2))))
    };
    let named = deposit(hash(1).event_id().as_str(), None);
    assert_eq!(named.key_hash(), Some(hash(1)));
    for (by_event, by_hash, again, expected) in [
        (
            Some(&both),
            Some(&both),
            deposit("x", Some(hash(1))),
            "duplicate",
        ),
        (Some(&both), None, deposit("x", None), "duplicate"),
        (
            None,
            Some(&both),
            deposit("new", Some(hash(1))),
            "duplicate",
        ),
        (None, Some(&both), named.clone(), "duplicate"),
        (
            None,
            Some(&recorded(&named)),
            deposit("new", Some(hash(1))),
            "duplicate",
        ),
        (Some(&both), None, deposit("x", Some(hash(3))), "conflict"),
        (
            Some(&both),
            Some(&other),
            deposit("x", Some(hash(2))),
            "conflict",
        ),
        (Some(&bare), None, deposit("x", Some(hash(1))), "conflict"),
        (
            None,
            Some(&both),
            NewEntry {
                change: plain("UNI", 6),
                ..deposit("n", Some(hash(1)))
            },
            "conflict",
        ),
    ] {
        let outcome = decide(&account(0), by_event, by_hash, &again, RULES);
        assert_eq!(
            name(&outcome),
            expected,
            "{by_event:?} {by_hash:?} {again:?}"
        );
    }
}

/// For any sequence of entries, with repeats and changed repeats: versions rise by one, no balance falls below
/// zero or past the range, a balance is the sum of what was accepted, and an event counts once.
#[test]
fn any_sequence_keeps_the_books() {
    let step = (0u8..12, -50i64..100, any::<bool>());
    crate::tests::check_part(20, prop::collection::vec(step, 1..120), |steps| {
        let mut account = Account::unknown(2);
        let mut records: HashMap<EventId, Recorded> = HashMap::new();
        let mut sum = 0i128;
        for (event, amount, huge) in steps {
            let amount = if huge && amount > 90 {
                i64::MAX
            } else {
                amount
            };
            prop_assume!(amount != 0);
            let entry = entry(&format!("e{event}"), amount);
            let known = records.get(&entry.event_id);
            match decide(&account, known, None, &entry, RULES) {
                Outcome::Accepted {
                    version, balances, ..
                } => {
                    prop_assert!(known.is_none());
                    prop_assert_eq!(version, account.version + 1);
                    sum += i128::from(amount);
                    account = Account {
                        exists: true,
                        version,
                        balances,
                    };
                    records.insert(
                        entry.event_id.clone(),
                        Recorded {
                            version,
                            ..recorded(&entry)
                        },
                    );
                }
                Outcome::Duplicate(first) => prop_assert_eq!(first.amount.minor(), minor(&entry)),
                Outcome::Conflict(first) => prop_assert_ne!(first.amount.minor(), minor(&entry)),
                Outcome::InsufficientFunds { available, .. } => {
                    prop_assert!(available.minor() + amount < 0)
                }
                Outcome::AmountOverflow => {
                    prop_assert!(sum + i128::from(amount) > i128::from(i64::MAX))
                }
                other => prop_assert!(
                    false,
                    "no entry is a reversal and users are made: {other:?}"
                ),
            }
            prop_assert_eq!(
                i128::from(account.balances.get(currency("UNI")).minor()),
                sum
            );
            prop_assert!(sum >= 0);
            prop_assert_eq!(account.version as usize, records.len());
        }
        Ok(())
    });
}
