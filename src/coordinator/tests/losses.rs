//! The ledger goes back: what is known by memory is no longer there.

use std::time::Duration;

use crate::clock::Wall;
use crate::coordinator::frames::BalanceView;
use crate::coordinator::messages::{Changed, CommittedEntry, Known, ToActor};
use crate::coordinator::tests::rig::{Rig, Session, minutes, version};
use crate::domain::{Balances, Kind, UserId};
use crate::ledger::{Lane, Ledger as _, MissedEntry};

/// User 184 was at version 3 when a copy was made, and is at 6; a session has been sent all of it.
async fn known_at_six() -> (Rig, Session) {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    for n in 1..=6 {
        rig.post(184, &format!("d{n}"), Kind::Deposit, 1)
            .await
            .expect("accepted");
        tokio::time::sleep(Duration::from_millis(150)).await;
        if n == 3 {
            rig.ledger.keep();
        }
    }
    assert_eq!(
        session.heard().last().map(String::as_str),
        Some("direct v6 e1 +1")
    );
    (rig, session)
}

impl Rig {
    fn epoch(&self) -> u64 {
        self.ledger.standing().epoch_number()
    }

    async fn fresh(&self) -> BalanceView {
        let answer = self.read(184, true).await.expect("answered");
        answer.expect("known")
    }

    /// The session was closed, and another one starts from this.
    async fn starts_over(&self, session: &Session, snapshot: &str) {
        self.settle().await;
        assert_eq!(self.epoch(), 2, "once");
        let heard = session.heard();
        assert_eq!(
            heard[7..],
            ["close GoingAway"],
            "nothing that was lost is shown again"
        );
        let new = self.attach(184).await;
        self.settle().await;
        assert_eq!(new.heard(), [snapshot]);
    }
}

#[actix_rt::test]
async fn a_read_that_gives_less_than_was_known_is_not_the_answer() {
    let (rig, session) = known_at_six().await;
    rig.ledger.go_back();
    let before = rig.ledger.standing().epoch().name;
    let view = rig.fresh().await;
    assert_eq!((view.account.version, view.is_stale), (3, false));
    assert_ne!(view.epoch, before);
    rig.starts_over(&session, "snapshot v3").await;
}

#[actix_rt::test]
async fn a_refresh_of_a_session_finds_out() {
    let (rig, session) = known_at_six().await;
    rig.ledger.go_back();
    rig.refresh(&session);
    rig.starts_over(&session, "snapshot v3").await;
}

#[actix_rt::test]
async fn an_entry_whose_version_was_known_proves_it_and_is_shown() {
    let (rig, session) = known_at_six().await;
    rig.ledger.go_back();
    assert_eq!(rig.post(184, "after", Kind::Deposit, 1).await, Ok(4));
    rig.starts_over(&session, "snapshot v4").await;
}

#[actix_rt::test]
async fn entries_that_pass_what_was_known_prove_it_too() {
    let (rig, session) = known_at_six().await;
    rig.ledger.go_back();
    for answer in rig.burst(184, 9) {
        answer.await.expect("answered");
    }
    rig.starts_over(&session, "snapshot v12").await;
}

#[actix_rt::test]
async fn an_atomic_batch_proves_it_too() {
    let (rig, session) = known_at_six().await;
    rig.ledger.go_back();
    rig.post_atomic(184, 9).await.await.expect("answered");
    rig.starts_over(&session, "snapshot v12").await;
}

#[actix_rt::test]
async fn a_version_that_only_a_duplicate_has_told_counts() {
    let rig = Rig::start().await;
    rig.ledger.keep();
    rig.ledger.write_behind(184, "elsewhere", 7);
    let again = rig.begin_post(184, "elsewhere", Kind::Reward, 7, Lane::Single);
    again.await.await.expect("answered");
    rig.ledger.go_back();
    assert_eq!(rig.fresh().await.account.version, 0);
    assert_eq!(rig.epoch(), 2);
}

#[actix_rt::test]
async fn a_session_that_nobody_asks_for_is_told_within_the_time_to_live() {
    let (rig, session) = known_at_six().await;
    rig.ledger.go_back();
    tokio::time::sleep(minutes(7)).await;
    rig.starts_over(&session, "snapshot v3").await;
}

#[actix_rt::test]
async fn what_was_sent_before_and_is_answered_after_is_not_learned() {
    let (rig, session) = known_at_six().await;
    rig.ledger.hold_posts(true);
    let answer = rig
        .begin_post(184, "under-way", Kind::Deposit, 1, Lane::Single)
        .await;
    rig.settle().await;
    rig.ledger.go_back();
    rig.fresh().await;
    rig.starts_over(&session, "snapshot v3").await;
    let new = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.hold_posts(false);
    assert_eq!(version(answer.await.expect("answered")), Ok(4));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(
        new.heard(),
        ["snapshot v3", "paced v4 e1 +1"],
        "from the ledger"
    );
    assert_eq!(rig.epoch(), 2);
}

#[actix_rt::test]
async fn a_read_that_a_commit_has_overtaken_is_no_loss() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.hold_reads(true);
    let answer = rig.read(184, true);
    rig.settle().await;
    rig.post(184, "d1", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.ledger.hold_reads(false);
    assert_eq!(
        answer
            .await
            .expect("answered")
            .expect("known")
            .account
            .version,
        1
    );
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
    assert_eq!(rig.epoch(), 1);
}

#[actix_rt::test]
async fn a_commit_that_a_read_has_overtaken_is_no_loss() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.hold_posts(true);
    let answer = rig
        .begin_post(184, "d1", Kind::Deposit, 5, Lane::Single)
        .await;
    rig.settle().await;
    // Of another process: a read finds it before the entry that was sent first is committed.
    rig.ledger.write_behind(184, "elsewhere", 7);
    assert_eq!(rig.fresh().await.account.version, 1);
    rig.ledger.hold_posts(false);
    assert_eq!(version(answer.await.expect("answered")), Ok(2));
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v2 e2 +12"]);
    assert_eq!(rig.epoch(), 1);
}

#[actix_rt::test]
async fn a_copy_that_lags_behind_begins_no_epoch_and_is_never_called_fresh() {
    let (rig, session) = known_at_six().await;
    rig.ledger.serve_old(true);
    let view = rig.fresh().await;
    assert_eq!((view.account.version, view.is_stale), (6, true));
    assert_eq!((rig.epoch(), session.heard().len()), (1, 7));
}

#[actix_rt::test]
async fn an_epoch_that_another_process_has_begun_is_followed() {
    let (rig, session) = known_at_six().await;
    rig.ledger.begin_epoch();
    rig.starts_over(&session, "snapshot v6").await;
    rig.post(184, "d7", Kind::Deposit, 1)
        .await
        .expect("accepted");
    rig.settle().await;
    assert_eq!(session.heard().len(), 8, "it is gone");
}

fn committed(entry: &MissedEntry) -> CommittedEntry {
    let mut balances = Balances::zero(2);
    balances.set(entry.currency, entry.balance_after);
    CommittedEntry {
        event_id: entry.event_id.clone(),
        version: entry.version,
        balances,
        committed_at: Wall::from_us(entry.committed_at_us),
        kind: entry.kind,
        currency: entry.currency,
        amount: entry.amount,
        source: entry.source.clone(),
        request: None,
    }
}

/// Two entries were committed together. The later one was sent before an epoch began, and its answer is dropped first.
async fn the_first_of_two(rig: &Rig) {
    rig.ledger.write_elsewhere(185, "d1", Kind::Deposit, 5);
    rig.ledger.write_elsewhere(185, "d2", Kind::Deposit, 7);
    let user_id = UserId::new(185).expect("a user id");
    let found = rig.ledger.missed_entries(vec![(user_id, 0)]).await;
    let found = found.expect("answered");
    for (entry, epoch) in [(&found[1], 0), (&found[0], rig.epoch())] {
        let changed = Changed {
            entries: vec![committed(entry)],
            known: Known { epoch, version: 0 },
        };
        rig.tell(185, ToActor::BalanceChanged(changed)).await;
    }
    rig.settle().await;
}

#[actix_rt::test]
async fn what_is_learned_after_something_was_dropped_is_not_taken_for_the_newest() {
    let rig = Rig::start().await;
    rig.ledger.keep_entries();
    // It keeps the actor.
    rig.ledger.hold_posts(true);
    let under_way = rig.begin_post(185, "d3", Kind::Deposit, 1, Lane::Single);
    let under_way = under_way.await;
    rig.settle().await;
    the_first_of_two(&rig).await;
    let answer = rig.read(185, false).await.expect("answered");
    assert_eq!(answer.expect("a balance").account.version, 2);
    rig.ledger.hold_posts(false);
    assert_eq!(version(under_way.await.expect("answered")), Ok(3));
}

#[actix_rt::test]
async fn what_is_learned_after_something_was_dropped_answers_nobody_who_waits_for_a_version() {
    let rig = Rig::start().await;
    rig.ledger.keep_entries();
    let answer = rig.read_from(185, false, Some(1));
    rig.settle().await;
    rig.ledger.hold_reads(true);
    the_first_of_two(&rig).await;
    rig.ledger.hold_reads(false);
    let view = answer.await.expect("answered").expect("a balance");
    assert_eq!((view.account.version, view.is_stale), (2, false));
}

/// Others may have been shown more by the actor before this one.
#[actix_rt::test]
async fn what_was_committed_before_the_actor_was_made_is_no_first_balance() {
    let rig = Rig::start().await;
    rig.ledger.keep_entries();
    rig.ledger.write_elsewhere(185, "d1", Kind::Deposit, 5);
    rig.ledger.write_elsewhere(185, "d2", Kind::Deposit, 7);
    let user_id = UserId::new(185).expect("a user id");
    let found = rig.ledger.missed_entries(vec![(user_id, 0)]).await;
    let found = found.expect("answered");
    rig.settle().await;
    rig.ledger.hold_reads(true);
    let session = rig.attach(185).await;
    rig.settle().await;
    let changed = Changed {
        entries: vec![committed(&found[0])],
        known: Known {
            epoch: rig.epoch(),
            version: 0,
        },
    };
    rig.tell(185, ToActor::BalanceChanged(changed)).await;
    rig.settle().await;
    assert_eq!(session.heard(), [""; 0]);
    rig.ledger.hold_reads(false);
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v2"]);
}
