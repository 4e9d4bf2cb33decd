//! Histories with one planted fault each: the checker finds it.

use crate::linearizability::*;

fn write(version: u64, sent: u64, answered: u64) -> Operation {
    Operation {
        user_id: 1,
        version,
        what: What::Write {
            event_id: format!("e{version}"),
        },
        sent,
        answered,
    }
}

fn read(version: u64, sent: u64, answered: u64) -> Operation {
    let balances = [10 * version as i64, 0];
    Operation {
        user_id: 1,
        version,
        what: What::Read { balances },
        sent,
        answered,
    }
}

/// Three entries, each of ten.
fn ledger() -> Ledger {
    let state = |n: i64| State {
        event_id: format!("e{n}"),
        balances: [10 * n, 0],
    };
    Ledger::from([(1, (1..=3).map(state).collect())])
}

/// Two writes at once, a third later, reads around them, and a late push.
fn sound() -> Vec<Operation> {
    vec![
        read(0, 1, 5),
        write(2, 10, 30),
        write(1, 12, 28),
        read(1, 14, 40),
        read(2, 14, 20),
        write(3, 50, 60),
        read(2, 45, 70),
        read(3, 45, 55),
        read(3, 61, 70),
        read(1, 0, 90),
    ]
}

fn all_of(ledger: &Ledger, operations: &[Operation]) -> Vec<String> {
    violations(
        ledger,
        &History {
            operations: operations.to_vec(),
            ..History::default()
        },
    )
}

/// The only violation.
fn of(ledger: &Ledger, operations: &[Operation]) -> String {
    let found = all_of(ledger, operations);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

/// The only violation of the sound history with one more operation.
fn of_one_more(operation: Operation) -> String {
    of(&ledger(), &[sound(), vec![operation]].concat())
}

fn of_refusal(available: i64, asked: i64, sent: u64, answered: u64) -> Vec<String> {
    let refusals = vec![Refusal {
        user_id: 1,
        asked,
        available,
        sent,
        answered,
    }];
    violations(
        &ledger(),
        &History {
            operations: sound(),
            refusals,
            sessions: Vec::new(),
        },
    )
}

#[test]
fn a_sound_history_is_accepted() {
    let sessions = vec![vec![0, 1, 1, 3], vec![2, 3]];
    let history = History {
        operations: sound(),
        refusals: Vec::new(),
        sessions,
    };
    assert_eq!(violations(&ledger(), &history), Vec::<String>::new());
}

#[test]
fn a_stale_read_is_found() {
    assert!(of_one_more(read(2, 61, 62)).contains("was sent after the answer to"));
    assert!(of_one_more(read(0, 29, 31)).contains("was sent after the answer to"));
}

#[test]
fn a_read_older_than_an_earlier_read_is_found() {
    // The write of version 2 was still under way, but a read had returned it.
    assert!(of_one_more(read(1, 21, 22)).contains("was sent after the answer to"));
}

#[test]
fn a_read_older_than_an_earlier_push_is_found() {
    assert!(
        of(
            &ledger(),
            &[sound(), vec![read(2, 0, 20), read(1, 21, 22)]].concat()
        )
        .contains("sent: 21")
    );
}

#[test]
fn a_read_of_an_entry_not_sent_yet_is_found() {
    assert!(of_one_more(read(3, 31, 46)).contains("was sent after the answer to"));
}

#[test]
fn a_version_that_never_existed_is_found() {
    assert!(of_one_more(read(4, 61, 90)).contains("that version is None"));
}

#[test]
fn balances_that_never_belonged_to_their_version_are_found() {
    let torn = Operation {
        what: What::Read { balances: [20, 0] },
        ..read(3, 61, 70)
    };
    assert!(of_one_more(torn).contains("that version is Some"));
}

#[test]
fn a_lost_write_is_found() {
    let mut shorter = ledger();
    shorter.get_mut(&1).expect("a user").pop();
    let kept: Vec<Operation> = sound()
        .into_iter()
        .filter(|o| o.version < 3 || o.sent == 50)
        .collect();
    assert!(
        all_of(&shorter, &kept)
            .iter()
            .any(|line| line.contains("that version is None"))
    );
}

#[test]
fn a_write_that_took_anothers_version_is_found() {
    let mut swapped = sound();
    swapped[1].version = 1;
    swapped[2].version = 2;
    assert_eq!(all_of(&ledger(), &swapped).len(), 2);
}

#[test]
fn an_entry_without_an_answer_is_found() {
    let kept: Vec<Operation> = sound()
        .into_iter()
        .filter(|operation| operation.sent != 50)
        .collect();
    assert!(of(&ledger(), &kept).contains("3 entries, 2 acknowledged"));
}

#[test]
fn writes_ordered_against_real_time_are_found() {
    // e2 was answered before e1 was sent.
    let operations = [write(2, 1, 2), write(1, 3, 4), write(3, 5, 6)];
    assert!(of(&ledger(), &operations).contains("was sent after the answer to"));
}

#[test]
fn a_session_whose_version_falls_is_found() {
    let history = History {
        operations: sound(),
        refusals: Vec::new(),
        sessions: vec![vec![1, 3, 2]],
    };
    assert_eq!(violations(&ledger(), &history), ["a session fell: [3, 2]"]);
}

#[test]
fn a_refusal_needs_a_balance_within_its_interval() {
    assert_eq!(of_refusal(0, 5, 1, 9), Vec::<String>::new());
    assert_eq!(of_refusal(20, 25, 55, 58), Vec::<String>::new());
    for (available, asked, sent, answered) in [
        // No longer the balance; not yet the balance; never the balance; sufficient.
        (20, 25, 61, 70),
        (30, 35, 31, 49),
        (15, 25, 55, 58),
        (20, 20, 55, 58),
    ] {
        assert_eq!(
            of_refusal(available, asked, sent, answered).len(),
            1,
            "{available} at {sent}"
        );
    }
}
