//! Which entries are at fault, and when it is the ledger.

use std::collections::HashSet;

use super::*;
use crate::limits::RETRY_MS;

const LONG: Duration = Duration::from_secs(60);

impl Rig {
    fn posting(
        &self,
        user: i64,
        events: &[&str],
        lane: Lane,
        is_atomic: bool,
        wait: Duration,
    ) -> oneshot::Receiver<Posted> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(Command::Post(Posting {
            entries: events.iter().map(|event| entry(user, event, 5)).collect(),
            is_atomic,
            lane,
            deadline: self.clock.deadline(wait),
            permit: permit(),
            reply,
        }));
        answer
    }

    fn of_user(&self, user: i64, event: &str, wait: Duration) -> oneshot::Receiver<Posted> {
        self.posting(user, &[event], Lane::Single, false, wait)
    }

    /// Begins something that the writer is busy with while the guard lives.
    fn busy(&self) -> std::sync::MutexGuard<'_, crate::ledger::memory::faulty_store::Shared> {
        let held = self.hold();
        drop(self.of_user(999, "busy", LONG));
        held
    }

    fn transactions(&self) -> usize {
        self.hold().bases.len()
    }

    fn errors(&self, kind: &str) -> u64 {
        self.counters.ledger_errors.with_label_values(&[kind]).get()
    }
}

#[test]
fn what_fails_on_an_old_connection_is_run_again_on_a_new_one() {
    let rig = rig(&[]);
    assert_eq!(version(rig.single("first")), Ok(1));
    let before = rig.transactions();
    rig.hold().is_stale = true;
    let answer = rig.post(Lane::Single, &["a", "b", "c"], LONG);
    assert_eq!(outcomes(answer), [Ok(2), Ok(3), Ok(4)]);
    assert_eq!(rig.transactions() - before, 2);
    rig.writer.stop();
}

#[test]
fn a_connection_that_was_ended_while_idle_counts_as_replaced_and_not_as_lost() {
    let rig = rig(&[]);
    for n in 0..3 {
        assert_eq!(version(rig.single(&format!("e{n}"))), Ok(n + 1));
        rig.hold().faults.push_back(Fault::LostAtBegin);
    }
    assert_eq!(version(rig.single("last")), Ok(4));
    assert_eq!((rig.errors("replaced"), rig.errors("lost")), (3, 0));
    // One that does not work from the start is lost.
    let faults = [Fault::LostAtBegin; 3];
    rig.hold().faults.extend(faults);
    assert_eq!(version(rig.single("after all")), Ok(5));
    assert_eq!((rig.errors("replaced"), rig.errors("lost")), (4, 2));
    rig.writer.stop();
}

#[test]
fn a_ledger_that_takes_nothing_refuses_no_entry_and_is_not_asked_for_each() {
    let rig = rig(&[]);
    assert_eq!(version(rig.of_user(999, "first", LONG)), Ok(1));
    let before = rig.transactions();
    let mut held = rig.busy();
    held.fails_all = true;
    let wait = Duration::from_millis(200);
    let answers: Vec<_> = (1..=600)
        .map(|user| rig.of_user(user, &format!("e{user}"), wait))
        .collect();
    drop(held);
    for answer in answers {
        assert_eq!(version(answer), Err(PostError::Unavailable));
    }
    // Two for all, and two for each round of an outage, whose pauses double.
    let rounds = (0..).take_while(|n| RETRY_MS.0 << n < 400).count();
    let tried = rig.transactions() - before;
    assert!(tried <= 8 + 4 * rounds, "{tried} transactions");
    rig.hold().fails_all = false;
    assert_eq!(version(rig.of_user(1, "again", LONG)), Ok(1));
    rig.writer.stop();
}

#[test]
fn entries_are_committed_after_an_outage_that_is_shorter_than_their_patience() {
    let rig = rig(&[]);
    assert_eq!(version(rig.of_user(999, "first", LONG)), Ok(1));
    let before = rig.transactions();
    // All are queued before it begins, and it ends after the ledger was found at fault.
    let mut held = rig.busy();
    held.fails_all = true;
    let post = |user| {
        let (first, second) = (format!("a{user}"), format!("b{user}"));
        rig.posting(user, &[&first, &second], Lane::Bulk, false, LONG)
    };
    let answers: Vec<_> = (1..=20).map(post).collect();
    drop(held);
    while rig.transactions() - before < 12 {
        std::thread::yield_now();
    }
    rig.hold().fails_all = false;
    let all: Vec<_> = answers.into_iter().flat_map(outcomes).collect();
    // The one that is tried at the very end fails alone, and is told so.
    let failed = all.iter().filter(|one| **one == Err(PostError::Failing));
    let failed = failed.count();
    let committed = all.iter().filter(|one| one.is_ok()).count();
    assert!(failed <= 1 && failed + committed == 40, "{all:?}");
    rig.writer.stop();
}

#[test]
fn entries_at_which_the_database_fails_fail_alone_wherever_they_are() {
    for failing in [
        &[0][..],
        &[39],
        &[3, 30],
        &[0, 1, 2],
        &[0, 20, 39],
        &[10, 11, 12, 13, 14],
    ] {
        let rig = rig(&[]);
        assert_eq!(version(rig.of_user(999, "first", LONG)), Ok(1));
        let mut held = rig.busy();
        held.failing = failing.iter().map(|n| format!("e{n}")).collect();
        let answers: Vec<_> = (0..40)
            .map(|n| rig.of_user(1 + n % 7, &format!("e{n}"), LONG))
            .collect();
        drop(held);
        for (n, answer) in answers.into_iter().enumerate() {
            let told = version(answer);
            if failing.contains(&n) {
                assert_eq!(told, Err(PostError::Failing), "{failing:?}: {n}");
            } else {
                assert!(told.is_ok(), "{failing:?}: {n} was answered {told:?}");
            }
        }
        rig.writer.stop();
    }
}

#[test]
fn an_entry_that_fails_with_nothing_beside_it_waits_and_delays_no_other() {
    let rig = rig(&[]);
    rig.hold().failing = HashSet::from(["poison".to_owned()]);
    let mut poison = rig.of_user(1, "poison", LONG);
    // It was tried, and waits.
    while rig.transactions() < 3 {
        std::thread::yield_now();
    }
    assert!(poison.try_recv().is_err());
    assert_eq!(version(rig.of_user(2, "other", LONG)), Ok(1));
    assert_eq!(
        version(poison),
        Err(PostError::Failing),
        "others were committed"
    );
    let given_up = rig.of_user(1, "poison", Duration::from_millis(50));
    assert!(version(given_up).is_err());
    rig.writer.stop();
}

#[test]
fn what_the_database_says_of_a_lone_entry_is_believed_when_it_finds_data_at_fault() {
    let rig = rig(&[]);
    rig.hold().poisoned = EventId::parse("refused").ok();
    assert_eq!(version(rig.single("refused")), Err(PostError::Refused));
    rig.writer.stop();
}

#[test]
fn a_batch_that_takes_too_long_fails_alone_and_its_neighbours_are_committed_first() {
    let rig = rig(&[]);
    assert_eq!(version(rig.of_user(999, "first", LONG)), Ok(1));
    let mut held = rig.busy();
    held.entries_max = Some(10);
    let names: Vec<String> = (0..50).map(|n| format!("b{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let before = held.bases.len();
    let slow = rig.posting(1, &names, Lane::Bulk, true, LONG);
    let singles: Vec<_> = (1..=5)
        .map(|user| rig.of_user(user, &format!("s{user}"), LONG))
        .collect();
    drop(held);
    for single in singles {
        assert_eq!(version(single), Ok(1));
    }
    assert!(
        outcomes(slow)
            .iter()
            .all(|told| *told == Err(PostError::Unavailable))
    );
    let tried = rig.transactions() - before;
    assert!(
        tried <= 4,
        "{tried}: what is busy, all, the singles, the batch"
    );
    // Of its user later entries do not wait.
    assert_eq!(version(rig.of_user(1, "later", LONG)), Ok(2));
    rig.writer.stop();
}

#[test]
fn a_user_s_entries_stay_in_order_while_one_of_its_postings_is_too_slow_to_share() {
    let rig = rig(&[]);
    let mut held = rig.busy();
    held.entries_max = Some(3);
    let of_user = |events: &[&str]| rig.posting(1, events, Lane::Bulk, false, LONG);
    let (first, second) = (of_user(&["a", "b", "c"]), of_user(&["d", "e"]));
    drop(held);
    assert_eq!(outcomes(first), [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(outcomes(second), [Ok(4), Ok(5)]);
    rig.writer.stop();
}

#[test]
fn a_commit_that_is_always_refused_ends_and_holds_up_nothing() {
    // Of the entry, its second attempt, and whatever follows.
    let rig = rig(&[]);
    assert_eq!(version(rig.of_user(2, "first", LONG)), Ok(1));
    rig.hold().faults.extend([Fault::LostBeforeCommit; 400]);
    let answer = rig.of_user(1, "e", Duration::from_millis(50));
    assert_eq!(version(answer), Err(PostError::Unavailable));
    rig.hold().faults.clear();
    assert_eq!(version(rig.of_user(2, "after", LONG)), Ok(2));
    rig.writer.stop();
}

#[test]
fn a_writer_says_whether_entries_could_be_written() {
    let rig = rig(&[]);
    let ask = || {
        let (reply, answer) = oneshot::channel();
        rig.writer.order(Order::TryOut(reply));
        answer.blocking_recv().expect("answered")
    };
    assert!(ask().is_ok());
    rig.hold().fails_all = true;
    assert!(ask().is_err());
    let waiting = rig.single("waiting");
    assert!(ask().is_err());
    rig.hold().fails_all = false;
    assert_eq!(version(waiting), Ok(1));
    assert!(ask().is_ok());
    rig.writer.stop();
}
