//! Answers while a read hangs, the ledger is away, or an old copy of it answers.

use std::time::Duration;

use super::rig::{Rig, Session};
use crate::coordinator::messages::ToActor;
use crate::domain::Kind;

#[actix_rt::test]
async fn a_commit_is_the_snapshot_of_a_session_whose_read_hangs() {
    let rig = Rig::start().await;
    rig.ledger.hold_reads(true);
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.post(184, "r1", Kind::Reward, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v1"]);
    rig.ledger.hold_reads(false);
    rig.settle().await;
    rig.post(184, "d2", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v1", "direct v2 e1 +5"]);
}

#[actix_rt::test]
async fn a_commit_is_the_recovery_of_sessions_that_know_of_an_outage() {
    let rig = Rig::start().await;
    let shown = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.go_away(true);
    rig.refresh(&shown);
    rig.settle().await;
    rig.tell(184, ToActor::Crash).await;
    rig.settle().await;
    // The actor that was made again knows nothing.
    let new = rig.attach(184).await;
    rig.settle().await;
    assert_eq!(
        shown.heard(),
        [
            "snapshot v0",
            "refresh v0 stale",
            "error ledger_unavailable"
        ]
    );
    assert_eq!(new.heard(), ["error ledger_unavailable"]);
    rig.ledger.go_away(false);
    rig.post(184, "d1", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    assert_eq!(shown.heard()[3..], ["recovered v1"]);
    assert_eq!(new.heard()[1..], ["recovered v1"]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        (shown.heard().len(), new.heard().len()),
        (4, 2),
        "and no more"
    );
}

#[actix_rt::test]
async fn a_fresh_read_behind_one_that_failed_is_marked_though_a_commit_came_since_that_one_began() {
    let rig = Rig::start().await;
    rig.ledger.hold_reads(true);
    rig.ledger.go_away(true);
    let first = rig.read(184, true);
    rig.settle().await;
    rig.ledger.go_away(false);
    rig.post(184, "heard", Kind::Deposit, 5)
        .await
        .expect("accepted");
    // Another writer's commit, of which nobody tells.
    rig.ledger.write_behind(184, "unheard", 7);
    let behind = rig.read(184, true);
    rig.settle().await;
    rig.ledger.hold_reads(false);
    for answer in [first, behind] {
        let view = answer
            .await
            .expect("answered")
            .expect("the commit told a balance");
        assert_eq!((view.account.version, view.is_stale), (1, true));
    }
}

/// A session that has seen version 1, whose actor was made again and is told only of version 0, by an old copy of the ledger.
async fn behind_its_session(rig: &Rig) -> Session {
    let session = rig.attach(184).await;
    rig.post(184, "d1", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    rig.ledger.serve_old(true);
    rig.tell(184, ToActor::Crash).await;
    rig.settle().await;
    assert_eq!(
        session.heard(),
        ["snapshot v0", "direct v1 e1 +5", "error ledger_unavailable"],
        "never the older state"
    );
    session
}

#[actix_rt::test]
async fn a_refresh_that_an_old_copy_of_the_ledger_answers_is_answered_by_an_error_and_mended() {
    let rig = Rig::start().await;
    let session = behind_its_session(&rig).await;
    rig.refresh(&session);
    rig.settle().await;
    assert_eq!(session.heard()[3..], ["error ledger_unavailable"]);
    rig.ledger.serve_old(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(session.heard()[4..], ["recovered v1"]);
}

#[actix_rt::test]
async fn a_refresh_is_answered_when_the_ledger_is_away_and_only_an_old_state_is_known() {
    let rig = Rig::start().await;
    let session = behind_its_session(&rig).await;
    rig.ledger.serve_old(false);
    rig.ledger.go_away(true);
    rig.refresh(&session);
    rig.settle().await;
    assert_eq!(session.heard()[3..], ["error ledger_unavailable"]);
    rig.ledger.go_away(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(session.heard()[4..], ["recovered v1"]);
}

#[actix_rt::test]
async fn a_session_that_attaches_again_to_an_older_state_in_memory_is_mended_unasked() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    session.stall(true).await;
    rig.post(184, "d1", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    rig.ledger.serve_old(true);
    rig.tell(184, ToActor::Crash).await;
    let view = rig
        .read(184, false)
        .await
        .expect("answered")
        .expect("an old copy");
    assert_eq!((view.account.version, view.is_stale), (0, false));
    rig.ledger.serve_old(false);
    // Only now it hears that its actor has died.
    session.stall(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        session.heard(),
        ["snapshot v0", "direct v1 e1 +5", "snapshot v1"]
    );
}

#[actix_rt::test]
async fn every_refresh_of_a_session_that_does_not_read_is_answered_when_it_does_though_nothing_is_known()
 {
    let rig = Rig::start().await;
    rig.ledger.go_away(true);
    let session = rig.attach(184).await;
    rig.settle().await;
    session.stall(true).await;
    for _ in 0..REFRESHES {
        rig.refresh(&session);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    session.stall(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        session.heard(),
        vec!["error ledger_unavailable"; 1 + REFRESHES]
    );
}

#[actix_rt::test]
async fn a_session_that_is_owed_more_answers_than_are_kept_has_to_come_back() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    session.stall(true).await;
    for _ in 0..4 * REFRESHES {
        rig.refresh(&session);
    }
    rig.settle().await;
    session.stall(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        session.heard().last().map(String::as_str),
        Some("close Overloaded")
    );
}

/// More than an outbox holds, and no more than is kept beside it.
const REFRESHES: usize = 40;

#[actix_rt::test]
async fn a_session_whose_attachment_died_with_the_actor_attaches_again_at_once() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.tell(
        184,
        ToActor::DetachSession {
            session_id: session.id,
        },
    )
    .await;
    rig.settle().await;
    // Its next message would attach it, but waits behind the one that kills the actor.
    rig.crash_with_messages_behind(184);
    rig.refresh(&session);
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "snapshot v0"]);
}

#[actix_rt::test]
async fn in_a_known_outage_every_balance_from_memory_is_marked_and_heals_unasked() {
    let rig = Rig::start().await;
    for user in [1, 2] {
        rig.post(user, &format!("d{user}"), Kind::Deposit, 5)
            .await
            .expect("accepted");
    }
    let before = rig.read(1, false).await.expect("answered").expect("known");
    assert!(!before.is_stale);
    rig.ledger.go_away(true);
    // Nothing has failed yet, so nothing is known.
    let unknowing = rig.read(1, false).await.expect("answered");
    assert!(!unknowing.expect("known").is_stale);
    // The read of another user fails.
    assert!(rig.read(3, true).await.expect("answered").is_err());
    let known = rig.read(1, false).await.expect("answered").expect("known");
    assert!(known.is_stale);
    assert_eq!(known.verified, before.verified, "its true age");
    let session = rig.attach(2).await;
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v1 stale"]);
    rig.ledger.go_away(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(session.heard()[1..], ["recovered v1"]);
    let after = rig.read(1, false).await.expect("answered");
    assert!(!after.expect("known").is_stale, "without a session, too");
}

#[actix_rt::test]
async fn a_commit_that_fails_tells_of_the_outage_too() {
    let rig = Rig::start().await;
    rig.post(1, "d1", Kind::Deposit, 5).await.expect("accepted");
    rig.ledger.go_away(true);
    assert!(rig.post(9, "d9", Kind::Deposit, 5).await.is_err());
    let known = rig.read(1, false).await.expect("answered").expect("known");
    assert!(known.is_stale);
    rig.ledger.go_away(false);
    rig.post(9, "d9", Kind::Deposit, 5).await.expect("accepted");
    let known = rig.read(1, false).await.expect("answered").expect("known");
    assert!(!known.is_stale, "a commit has succeeded since");
}

#[actix_rt::test]
async fn a_reader_of_the_ledgers_own_state_is_not_answered_by_what_a_commit_told() {
    let rig = Rig::start().await;
    let fresh = rig.read_from(184, true, Some(1));
    let known = rig.read_from(184, false, Some(1));
    rig.settle().await;
    assert_eq!(rig.ledger.reads(), 1, "neither is content with it");
    rig.post(184, "d1", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    for answer in [fresh, known] {
        let view = answer.await.expect("answered").expect("a balance");
        assert_eq!((view.account.version, view.is_stale), (1, false));
    }
    assert_eq!(
        rig.ledger.reads(),
        2,
        "one for the reader that asked for it"
    );
}
