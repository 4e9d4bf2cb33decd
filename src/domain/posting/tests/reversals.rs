//! Reversals: the rule as a table, and its invariants for any sequence of entries and reversals.

use super::*;

fn reversal(event: &str, reverses: &str, given: (Option<&str>, Option<&str>)) -> NewEntry {
    let (code, amount) = given;
    NewEntry {
        kind: Kind::Reversal,
        change: Change::Reversal(Box::new(Reversal {
            reverses: EventId::parse(reverses).expect("event id"),
            currency: code.map(currency),
            amount: amount.map(Box::from),
        })),
        ..entry(event, 1)
    }
}

/// An entry of which so much is left.
fn reversible(entry: &NewEntry, left: i64) -> Reversible {
    Reversible {
        event_id: entry.event_id.clone(),
        entry: recorded(entry),
        left: Amount::from_minor(left),
    }
}

fn post_reversal(
    account: &Account,
    by_event: Option<&Recorded>,
    reversible: Option<&Reversible>,
    entry: &NewEntry,
) -> Outcome {
    let found = Found {
        by_event,
        by_hash: None,
        reversible,
    };
    post(account, found, entry, RULES)
}

#[test]
fn a_reversal_takes_what_is_left_with_the_other_sign() {
    let paid = entry("paid", 10);
    let spent = entry("spent", -10);
    for (original, left, amount, expected) in [
        (&paid, 10, None, (-10, 0)),
        (&paid, 4, None, (-4, 0)),
        (&paid, 10, Some("0.000000003"), (-3, 7)),
        (&paid, 3, Some("00.000000003"), (-3, 0)),
        (&spent, 10, None, (10, 0)),
        (&spent, 10, Some("0.000000001"), (1, 9)),
    ] {
        let named = reversible(original, left);
        let entry = reversal("r", original.event_id.as_str(), (None, amount));
        let outcome = post_reversal(&account(100), None, Some(&named), &entry);
        let Outcome::Accepted {
            version,
            balances,
            applied,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        let reversed = applied.reversed.expect("a reversal");
        let taken = (applied.amount.minor(), reversed.left_after.minor());
        assert_eq!(taken, expected, "{original:?} {left} {amount:?}");
        assert_eq!(reversed.event_id, original.event_id);
        assert_eq!((version, applied.currency), (8, currency("UNI")));
        assert_eq!(balances.get(currency("UNI")).minor(), 100 + expected.0);
    }
}

#[test]
fn a_reversal_is_refused_in_this_order() {
    let paid = reversible(&entry("e", 10), 10);
    let of_another = Reversible {
        entry: Recorded {
            user_id: UserId::new(185).expect("user id"),
            ..paid.entry.clone()
        },
        ..paid.clone()
    };
    let of_reversal = Reversible {
        entry: Recorded {
            kind: Kind::Reversal,
            ..paid.entry.clone()
        },
        ..paid.clone()
    };
    let some = |amount| (None, Some(amount));
    let all = (None, None);
    for (named, balance, given, expected) in [
        (Some(&paid), 10, all, "accepted"),
        (Some(&paid), 10, (Some("UNI"), None), "accepted"),
        (None, 10, all, "unknown_entry"),
        (Some(&of_another), 10, all, "unknown_entry"),
        (Some(&of_another), 10, (Some("TON"), None), "unknown_entry"),
        (
            Some(&of_reversal),
            10,
            (Some("TON"), None),
            "not_reversible",
        ),
        (Some(&paid), 10, (Some("TON"), Some("9")), "wrong_currency"),
        (Some(&paid), 10, some("0.0000000001"), "invalid_amount"),
        (Some(&paid), 10, some("0.000000011"), "exceeds_original"),
        (Some(&paid), 10, some("999999999999999"), "exceeds_original"),
        (
            Some(&reversible(&entry("e", 10), 0)),
            10,
            all,
            "exceeds_original",
        ),
        (
            Some(&reversible(&entry("e", 10), 4)),
            10,
            some("0.000000005"),
            "exceeds_original",
        ),
        (Some(&paid), 9, all, "insufficient_funds"),
        (
            Some(&reversible(&entry("e", -10), 10)),
            i64::MAX,
            all,
            "amount_overflow",
        ),
    ] {
        let outcome = post_reversal(&account(balance), None, named, &reversal("r", "e", given));
        assert_eq!(name(&outcome), expected, "{named:?} {balance} {given:?}");
    }
    let short = reversible(&entry("e", 10), 4);
    let refused = post_reversal(
        &account(10),
        None,
        Some(&short),
        &reversal("r", "e", some("1")),
    );
    let left = Outcome::ExceedsOriginal {
        left: Amount::from_minor(4),
        currency: currency("UNI"),
    };
    assert_eq!(refused, left);
}

#[test]
fn a_known_event_is_judged_before_the_entry_is_looked_for() {
    let record = Recorded {
        kind: Kind::Reversal,
        amount: Amount::from_minor(-3),
        reverses: Some(EventId::parse("e").expect("event id")),
        ..recorded(&entry("r", 1))
    };
    let named = reversible(&deposit("e", Some(hash(1))), 0);
    let other = reversible(&entry("other", 5), 5);
    let by_hash = hash(1).event_id();
    let all = (None, None);
    for (reverses, given, named, expected) in [
        ("e", all, Some(&named), "duplicate"),
        ("e", all, None, "duplicate"),
        ("e", (Some("UNI"), Some("0.000000003")), None, "duplicate"),
        (by_hash.as_str(), all, Some(&named), "duplicate"),
        (by_hash.as_str(), all, None, "conflict"),
        ("other", all, Some(&other), "conflict"),
        ("nothing", all, None, "conflict"),
        ("e", (None, Some("0.000000004")), Some(&named), "conflict"),
        ("e", (None, Some("0.0000000031")), Some(&named), "conflict"),
        ("e", (Some("TON"), None), Some(&named), "conflict"),
    ] {
        let again = reversal("r", reverses, given);
        let outcome = post_reversal(&Account::unknown(2), Some(&record), named, &again);
        assert_eq!(name(&outcome), expected, "{reverses} {given:?} {named:?}");
    }
    let reward = recorded(&entry("r", 5));
    let outcome = post_reversal(
        &account(9),
        Some(&reward),
        Some(&named),
        &reversal("r", "e", all),
    );
    assert_eq!(name(&outcome), "conflict");
    let plain = decide(&account(9), Some(&record), None, &entry("r", -3), RULES);
    assert_eq!(name(&plain), "conflict");
}

/// For any sequence of entries and reversals of them: what is taken back of an entry never exceeds it, and is gone from
/// the balance; no balance falls below zero; a currency never changes.
#[test]
fn all_reversals_of_an_entry_never_exceed_it() {
    let step = (
        0_u8..6,
        prop::option::of(1_i64..40),
        -30_i64..60,
        any::<bool>(),
    );
    crate::tests::check_part(20, prop::collection::vec(step, 1..100), |steps| {
        let mut account = account(0);
        let mut entries: HashMap<u8, Reversible> = HashMap::new();
        let mut taken: HashMap<u8, i64> = HashMap::new();
        for (number, (of, part, minor, is_ton)) in steps.into_iter().enumerate() {
            let event = format!("e{number}");
            if !entries.contains_key(&of) && minor != 0 {
                let code = if is_ton { "TON" } else { "UNI" };
                let entry = NewEntry {
                    change: plain(code, minor),
                    ..entry(&event, 1)
                };
                let outcome = decide(&account, None, None, &entry, RULES);
                if let Outcome::Accepted { balances, .. } = outcome {
                    account.balances = balances;
                    entries.insert(of, reversible(&entry, minor.abs()));
                }
                continue;
            }
            let Some(named) = entries.get_mut(&of) else {
                continue;
            };
            let text = part.map(|part| Amount::from_minor(part).display(9).to_string());
            let entry = reversal(&event, named.event_id.as_str(), (None, text.as_deref()));
            let before = account.balances.get(named.entry.currency).minor();
            let whole = named.entry.amount.minor();
            let sum = taken.entry(of).or_default();
            match post_reversal(&account, None, Some(named), &entry) {
                Outcome::Accepted {
                    balances, applied, ..
                } => {
                    prop_assert_eq!(applied.currency, named.entry.currency);
                    *sum += applied.amount.minor();
                    let after = balances.get(applied.currency).minor();
                    prop_assert_eq!(after, before + applied.amount.minor());
                    prop_assert!(after >= 0);
                    prop_assert!(sum.signum() == -whole.signum() && sum.abs() <= whole.abs());
                    account.balances = balances;
                    let reversed = applied.reversed.expect("a reversal");
                    prop_assert_eq!(reversed.left_after.minor(), whole.abs() - sum.abs());
                    named.left = reversed.left_after;
                }
                Outcome::ExceedsOriginal { left, .. } => {
                    prop_assert_eq!(left.minor(), whole.abs() - sum.abs());
                    prop_assert!(
                        left == Amount::ZERO || part.is_some_and(|part| part > left.minor())
                    );
                }
                Outcome::InsufficientFunds { available, .. } => {
                    prop_assert_eq!(available.minor(), before);
                    prop_assert!(whole > 0);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        Ok(())
    });
}
