//! Several entries of one user, duplicates inside one batch, and all-or-nothing groups.

use super::*;
use crate::domain::{Amount, Change, Kind, Reversal, Reversible};
use crate::ledger::memory::faulty_store::entry;

const RULES: Rules = Rules { auto_create: true };

fn loaded(groups: &[Group<'_>]) -> Loaded {
    let accounts = Keys::of(groups)
        .users
        .into_iter()
        .map(|user| (user, Account::unknown(2)));
    Loaded {
        accounts: accounts.collect(),
        ..Loaded::default()
    }
}

fn recorded(entry: &NewEntry, version: i64, committed_at_us: i64) -> Recorded {
    let (currency, amount) = entry.change.plain().expect("no reversal");
    let applied = Applied {
        currency,
        amount,
        reversed: None,
    };
    Recorded::of(entry, &applied, version, committed_at_us)
}

fn each(entries: &[NewEntry]) -> Group<'_> {
    Group {
        entries,
        is_atomic: false,
    }
}

/// `a7` accepted at version 7, `d7` a duplicate of it, `-` not applied, or the refusal's name.
fn told(plan: &Plan<'_>) -> Vec<Vec<String>> {
    let one = |outcome: &EntryOutcome| match outcome {
        EntryOutcome::Decided {
            outcome: Outcome::Accepted { version, .. },
            ..
        } => format!("a{version}"),
        EntryOutcome::Decided {
            outcome: Outcome::Duplicate(first),
            ..
        } => format!("d{}", first.version),
        EntryOutcome::Decided {
            outcome: Outcome::Conflict(_),
            ..
        } => "conflict".into(),
        EntryOutcome::Decided {
            outcome: Outcome::InsufficientFunds { .. },
            ..
        } => "insufficient".into(),
        other @ (EntryOutcome::Decided { .. } | EntryOutcome::Failed(_)) => format!("{other:?}"),
        EntryOutcome::NotApplied => "-".into(),
    };
    plan.outcomes
        .iter()
        .map(|group| group.iter().map(one).collect())
        .collect()
}

fn written(plan: &Plan<'_>) -> Vec<(i64, i64, i64)> {
    plan.entries
        .iter()
        .map(|p| (p.entry.user_id.get(), p.version, p.applied.amount.minor()))
        .collect()
}

#[test]
fn one_batch_decides_many_entries_of_a_user_and_duplicates_within_it() {
    let entries = [
        entry(1, "a", 10),
        entry(2, "b", 5),
        entry(1, "c", -4),
        entry(1, "a", 10),
        entry(1, "a", 11),
        entry(1, "d", -7),
    ];
    let groups = [each(&entries)];
    let plan = plan(&groups, &Keys::of(&groups), loaded(&groups), RULES, 77);
    assert_eq!(
        told(&plan),
        [["a1", "a1", "a2", "d1", "conflict", "insufficient"]]
    );
    assert_eq!(written(&plan), [(1, 1, 10), (2, 1, 5), (1, 2, -4)]);
    let accounts: Vec<_> = plan
        .accounts
        .iter()
        .map(|of| (of.user_id.get(), of.version_before, of.account.version))
        .collect();
    assert_eq!(accounts, [(1, 0, 2), (2, 0, 1)]);
    let balances: Vec<_> = plan
        .balances
        .iter()
        .map(|planned| (planned.user_id.get(), planned.amount.minor()))
        .collect();
    assert_eq!(balances, [(1, 6), (2, 5)]);
    assert_eq!(plan.conflicts.len(), 1);
}

#[test]
fn an_atomic_group_writes_nothing_when_one_entry_is_rejected() {
    let before = [entry(1, "a", 10)];
    let atomic = [
        entry(1, "b", 1),
        entry(2, "c", 5),
        entry(1, "d", -50),
        entry(1, "a", 10),
    ];
    let after = [entry(1, "b", 1), entry(2, "c", -5)];
    let groups = [
        each(&before),
        Group {
            entries: &atomic,
            is_atomic: true,
        },
        each(&after),
    ];
    let plan = plan(&groups, &Keys::of(&groups), loaded(&groups), RULES, 77);
    assert_eq!(
        told(&plan),
        [
            vec!["a1"],
            vec!["-", "-", "insufficient", "-"],
            vec!["a2", "insufficient"]
        ]
    );
    assert_eq!(written(&plan), [(1, 1, 10), (1, 2, 1)]);
}

#[test]
fn an_atomic_group_without_a_rejection_is_written_completely() {
    let atomic = [entry(1, "a", 10), entry(2, "b", 5), entry(1, "a", 10)];
    let groups = [Group {
        entries: &atomic,
        is_atomic: true,
    }];
    let plan = plan(&groups, &Keys::of(&groups), loaded(&groups), RULES, 77);
    assert_eq!(told(&plan), [["a1", "a1", "d1"]]);
}

#[test]
fn a_plan_is_recognised_in_the_tables_by_version_and_time() {
    let entries = [entry(1, "a", 10)];
    let groups = [each(&entries)];
    let plan_of = |at| plan(&groups, &Keys::of(&groups), loaded(&groups), RULES, at);
    let mut seen = loaded(&groups);
    assert!(!plan_of(77).is_committed(&seen));
    let recorded = recorded(&entries[0], 1, 77);
    seen.events.insert(entries[0].event_id.clone(), recorded);
    assert!(plan_of(77).is_committed(&seen));
    assert!(
        !plan_of(78).is_committed(&seen),
        "the same event of another sender is not ours"
    );
}

/// The sender of `a` has sent it again, alone, to another process, which committed it in the same microsecond.
#[test]
fn what_another_process_committed_in_the_same_microsecond_is_not_taken_for_the_whole_plan() {
    let entries = [entry(1, "a", 10), entry(2, "b", 10)];
    let groups = [each(&entries)];
    let plan = plan(&groups, &Keys::of(&groups), loaded(&groups), RULES, 77);
    let mut seen = loaded(&groups);
    for (index, is_whole) in [(0, false), (1, true)] {
        let entry = &entries[index];
        let recorded = recorded(entry, 1, 77);
        seen.events.insert(entry.event_id.clone(), recorded);
        assert_eq!(plan.is_committed(&seen), is_whole);
    }
    let other = recorded(
        &super::super::memory::entry(1, "a", crate::domain::Kind::Reward, 11),
        1,
        77,
    );
    seen.events.insert(entries[0].event_id.clone(), other);
    assert!(!plan.is_committed(&seen), "with another amount");
}

#[test]
fn an_entry_of_a_user_without_an_account_means_that_the_read_is_torn() {
    let (entries, of_another) = ([entry(1, "a", 10)], entry(2, "b", 10));
    let groups = [each(&entries)];
    let mut seen = loaded(&groups);
    // An entry of a user outside the batch proves nothing: that account was not loaded.
    seen.events
        .insert(of_another.event_id.clone(), recorded(&of_another, 7, 77));
    assert!(!seen.is_torn());
    seen.events
        .insert(entries[0].event_id.clone(), recorded(&entries[0], 1, 77));
    assert!(seen.is_torn());
    seen.accounts
        .values_mut()
        .for_each(|account| account.exists = true);
    assert!(!seen.is_torn());
    let mut named = loaded(&groups);
    named.reversibles.insert(Reversible {
        event_id: entries[0].event_id.clone(),
        entry: recorded(&entries[0], 1, 77),
        left: Amount::from_minor(10),
    });
    assert!(named.is_torn(), "an entry that a reversal names");
}

fn reversal(user: i64, event: &str, reverses: &str, amount: Option<&str>) -> NewEntry {
    NewEntry {
        kind: Kind::Reversal,
        change: Change::Reversal(Box::new(Reversal {
            reverses: EventId::parse(reverses).expect("an event id"),
            currency: None,
            amount: amount.map(Box::from),
        })),
        ..entry(user, event, 1)
    }
}

#[test]
fn an_item_may_reverse_one_before_it_by_either_name() {
    let hash = TxHash::from_slice(&[7; 32]).expect("32 bytes");
    let deposit = NewEntry {
        kind: Kind::Deposit,
        tx_hash: Some(hash),
        ..entry(1, "paid", 10)
    };
    let by_hash = hash.event_id();
    let entries = [
        reversal(1, "early", "paid", None),
        deposit,
        reversal(1, "r1", by_hash.as_str(), Some("0.000000004")),
        reversal(1, "r1", "paid", None),
        reversal(2, "other", "paid", None),
        reversal(1, "r2", "paid", Some("0.000000007")),
        reversal(1, "r3", "paid", None),
        reversal(1, "r4", "paid", None),
        reversal(1, "r5", "r3", None),
        entry(1, "last", 1),
    ];
    let groups = [each(&entries)];
    let plan = plan(&groups, &Keys::of(&groups), loaded(&groups), RULES, 77);
    let names: Vec<String> = told(&plan).remove(0);
    let begins = |index: usize, with: &str| names[index].contains(with);
    assert!(begins(0, "UnknownEntry"), "{names:?}");
    assert_eq!(names[1..4], ["a1", "a2", "d2"]);
    assert!(begins(4, "UnknownEntry"), "{names:?}");
    assert!(begins(5, "ExceedsOriginal"), "{names:?}");
    assert_eq!(names[6], "a3");
    assert!(begins(7, "ExceedsOriginal"), "{names:?}");
    assert!(begins(8, "NotReversible"), "{names:?}");
    assert_eq!(names[9], "a4");
    assert_eq!(
        written(&plan),
        [(1, 1, 10), (1, 2, -4), (1, 3, -6), (1, 4, 1)]
    );
    let left = |planned: &PlannedEntry<'_>| {
        let reversed = planned.applied.reversed.as_ref()?;
        Some((reversed.event_id.to_string(), reversed.left_after.minor()))
    };
    let left: Vec<_> = plan.entries.iter().map(left).collect();
    assert_eq!(
        left,
        [
            None,
            Some(("paid".into(), 6)),
            Some(("paid".into(), 0)),
            None
        ]
    );
}

#[test]
fn what_an_atomic_group_took_back_is_left_again_when_it_is_refused() {
    let before = [entry(1, "paid", 10)];
    let atomic = [
        reversal(1, "r1", "paid", Some("0.000000003")),
        entry(1, "bonus", 5),
        reversal(1, "r2", "bonus", None),
        reversal(1, "r3", "paid", None),
        entry(1, "too much", -50),
    ];
    let after = [
        reversal(1, "r4", "bonus", None),
        reversal(1, "r5", "paid", None),
    ];
    let groups = [
        each(&before),
        Group {
            entries: &atomic,
            is_atomic: true,
        },
        each(&after),
    ];
    let plan = plan(&groups, &Keys::of(&groups), loaded(&groups), RULES, 77);
    let told = told(&plan);
    assert_eq!(told[1], ["-", "-", "-", "-", "insufficient"]);
    assert!(told[2][0].contains("UnknownEntry"), "{told:?}");
    assert_eq!(told[2][1], "a2");
    assert_eq!(written(&plan), [(1, 1, 10), (1, 2, -10)]);
}

#[test]
fn what_was_loaded_says_whether_a_balance_has_a_row() {
    let entries = [
        // Without an account; twice.
        entry(1, "a", 10),
        entry(1, "b", 5),
        // Above zero, and nothing in between.
        entry(2, "c", -7),
        entry(2, "d", 1),
        // Above zero all the time.
        entry(3, "e", -1),
        entry(3, "f", -6),
        // An account without a balance.
        entry(4, "g", 1),
        entry(4, "h", 1),
    ];
    let groups = [each(&entries)];
    let mut loaded = loaded(&groups);
    for (user, minor) in [(2, 7), (3, 7), (4, 0)] {
        let user = UserId::new(user).expect("valid");
        let account = loaded.accounts.get_mut(&user).expect("asked for");
        account.exists = true;
        account.balances.set(
            entries[0].change.plain().expect("plain").0,
            Amount::from_minor(minor),
        );
    }
    let plan = plan(&groups, &Keys::of(&groups), loaded, RULES, 0);
    let rows: Vec<_> = plan
        .balances
        .iter()
        .map(|planned| (planned.user_id.get(), planned.amount.minor(), planned.row))
        .collect();
    assert_eq!(
        rows,
        [
            (1, 15, BalanceRow::Missing),
            (2, 1, BalanceRow::Unknown),
            (3, 0, BalanceRow::There),
            (4, 2, BalanceRow::Unknown),
        ]
    );
}
