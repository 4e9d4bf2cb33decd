//! What the coordinator does for many, counted: nothing that can be asked for grows without bound or keeps others waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::coordinator::messages::{InspectRegistry, ListActors, Shutdown, ToActor};
use crate::coordinator::tests::rig::{Rig, SESSIONS_PER_USER_MAX, minutes};
use crate::domain::Kind;
use crate::ledger::LedgerError;
use crate::limits::{
    ACTOR_MAILBOX_MAX, RETRIES_MAX, REVALIDATIONS_MAX, SWEEP_SLICE, VERSION_WAITERS_MAX,
};

#[actix_rt::test]
async fn readers_that_give_up_leave_no_timer_and_no_waiter_behind() {
    let rig = Rig::start().await;
    let _session = rig.attach(184).await;
    rig.settle().await;
    for _ in 0..5000 {
        let answer = rig.read_from(184, false, Some(99));
        rig.settle().await;
        drop(answer);
    }
    let (tasks, waiters) = (
        rig.counter(184, "tasks").await,
        rig.counter(184, "version_waiters").await,
    );
    assert!(
        tasks <= 2 && waiters <= 1,
        "{tasks} tasks, {waiters} waiters"
    );
}

#[actix_rt::test]
async fn readers_that_wait_for_a_version_are_bounded_and_share_the_actors_timer() {
    let rig = Rig::start().await;
    rig.settle().await;
    let answers: Vec<_> = (0..VERSION_WAITERS_MAX + 10)
        .map(|_| rig.read_from(184, false, Some(1)))
        .collect();
    rig.settle().await;
    assert_eq!(
        (
            rig.counter(184, "version_waiters").await,
            rig.counter(184, "tasks").await
        ),
        (VERSION_WAITERS_MAX as u64, 1)
    );
    rig.post(184, "r1", Kind::Reward, 1)
        .await
        .expect("accepted");
    let mut refused = 0;
    for answer in answers {
        match answer.await.expect("answered") {
            Ok(view) => assert_eq!(view.account.version, 1),
            Err(LedgerError::Overloaded) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 10);
}

#[actix_rt::test]
async fn a_session_that_ends_while_its_actors_mailbox_is_full_is_forgotten() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    let burst = rig.burst(184, ACTOR_MAILBOX_MAX + 100);
    rig.detach(&session);
    drop(burst);
    rig.settle().await;
    let totals = rig.registry.send(InspectRegistry).await.expect("alive");
    assert_eq!((totals.actors_with_sessions, totals.actors_idle), (0, 1));
    assert_eq!(
        session.heard(),
        ["snapshot v0"],
        "it was not told to attach again"
    );
}

#[actix_rt::test]
async fn a_session_that_ended_without_a_word_holds_no_place_and_is_forgotten_in_time() {
    let rig = Rig::start().await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS_PER_USER_MAX {
        sessions.push(rig.attach(184).await);
        rig.settle().await;
    }
    sessions[1].die().await;
    sessions.push(rig.attach(184).await);
    rig.settle().await;
    assert_eq!(
        sessions[0].heard(),
        ["snapshot v0"],
        "the oldest one may stay"
    );
    for session in sessions
        .iter()
        .filter(|session| session.id != sessions[1].id)
    {
        session.die().await;
    }
    tokio::time::sleep(minutes(15)).await;
    let totals = rig.registry.send(InspectRegistry).await.expect("alive");
    assert_eq!(totals.actors, 0);
}

#[actix_rt::test]
async fn a_session_is_closed_though_its_actors_mailbox_is_full_when_the_service_stops() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    let burst = rig.burst(184, ACTOR_MAILBOX_MAX + 100);
    rig.registry.send(Shutdown).await.expect("alive");
    drop(burst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let heard = session.heard();
    assert_eq!(heard.last().map(String::as_str), Some("close GoingAway"));
}

#[actix_rt::test]
async fn balances_are_read_again_a_few_at_a_time_behind_what_is_asked_for() {
    const USERS: i64 = 1000;
    let rig = Rig::start().await;
    let mut sessions = Vec::new();
    for user in 1..=USERS {
        sessions.push(rig.attach(user).await);
    }
    rig.settle().await;
    rig.ledger.hold_background_reads();
    let before = rig.ledger.reads();
    tokio::time::sleep(minutes(7)).await;
    assert_eq!(
        rig.ledger.background_reads(),
        REVALIDATIONS_MAX,
        "under way"
    );
    // Each of them is asked: none waits behind its own read of the background.
    for session in &sessions {
        rig.refresh(session);
    }
    rig.settle().await;
    assert_eq!(rig.ledger.reads() - before, USERS as usize);
    assert!(
        sessions
            .iter()
            .all(|session| session.heard() == ["snapshot v0", "refresh v0"])
    );
    // They are young again. In time each one is read, and none is passed over.
    rig.ledger.hold_reads(false);
    let before = rig.ledger.background_reads();
    // The TTL, a round, and what the turns take.
    tokio::time::sleep(Duration::from_secs(300 + 60 + 30)).await;
    let read = rig.ledger.background_reads() - before;
    assert!(
        (USERS as usize..=2 * USERS as usize).contains(&read),
        "{read} reads"
    );
}

#[actix_rt::test]
async fn a_sweep_reads_no_more_than_a_slice_at_a_time() {
    const USERS: i64 = 2000;
    let rig = Rig::start().await;
    let mut sessions = Vec::new();
    for user in 1..=USERS {
        sessions.push(rig.attach(user).await);
    }
    let (mut last, mut most) = (0, 0);
    for _ in 0..7 * 60 * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let reads = rig.ledger.background_reads();
        (last, most) = (reads, most.max(reads - last));
    }
    assert!(last >= USERS as usize, "{last} reads");
    assert!(most <= SWEEP_SLICE, "{most} within 100 ms");
}

#[actix_rt::test]
async fn idle_actors_leave_a_slice_at_a_time() {
    const USERS: i64 = 2000;
    let rig = Rig::start_with_cache(USERS as usize).await;
    for user in 1..=USERS {
        rig.post(user, &format!("e{user}"), Kind::Reward, 1)
            .await
            .expect("accepted");
    }
    let (mut last, mut most) = (USERS as usize, 0);
    for _ in 0..7 * 60 * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let totals = rig.registry.send(InspectRegistry).await.expect("alive");
        (last, most) = (totals.actors_idle, most.max(last - totals.actors_idle));
    }
    assert_eq!(last, 0, "all have left");
    assert!(most <= SWEEP_SLICE, "{most} within 100 ms");
}

#[actix_rt::test]
async fn only_a_user_that_is_stale_is_read_again_and_ever_more_rarely() {
    let rig = Rig::start().await;
    let mut sessions = Vec::new();
    for user in 1..=100 {
        sessions.push(rig.attach(user).await);
    }
    rig.settle().await;
    rig.ledger.spoil(Some(1));
    rig.refresh(&sessions[0]);
    rig.settle().await;
    assert_eq!(sessions[0].heard(), ["snapshot v0", "refresh v0 stale"]);
    let (reads, pings) = (rig.ledger.reads(), rig.ledger.pings());
    tokio::time::sleep(minutes(2)).await;
    // After 1 s, 3 s, 7 s, 15 s, 31 s, 63 s.
    assert_eq!(rig.ledger.reads() - reads, 6);
    assert_eq!(
        rig.ledger.pings(),
        pings,
        "the ledger is there: nothing else is asked"
    );
    let actors = rig.registry.send(ListActors).await.expect("alive");
    let asked = actors.iter().filter(|actor| actor.idle_ms < 120_000);
    assert_eq!(asked.count(), 1, "no other actor gets a message");
    rig.ledger.spoil(None);
    tokio::time::sleep(minutes(1)).await;
    assert_eq!(sessions[0].heard()[2..], ["recovered v0"]);
    assert!(
        sessions[1..]
            .iter()
            .all(|session| session.heard() == ["snapshot v0"])
    );
}

#[actix_rt::test]
async fn after_an_outage_all_are_read_again_a_bounded_number_at_once() {
    const USERS: i64 = 1000;
    let rig = Rig::start().await;
    let mut sessions = Vec::new();
    for user in 1..=USERS {
        sessions.push(rig.attach(user).await);
    }
    rig.settle().await;
    rig.ledger.go_away(true);
    sessions.iter().for_each(|session| rig.refresh(session));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = rig.ledger.reads();
    rig.ledger.go_away(false);
    rig.ledger.hold_reads(true);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.ledger.reads() - before, RETRIES_MAX);
    // One that hangs keeps no other waiting.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(rig.ledger.reads() - before >= USERS as usize);
    rig.ledger.hold_reads(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for session in sessions {
        assert_eq!(
            session.heard(),
            ["snapshot v0", "refresh v0 stale", "recovered v0"]
        );
    }
}

#[actix_rt::test]
async fn a_read_that_hangs_is_tried_again_though_another_one_has_succeeded_meanwhile() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.hold_reads(true);
    rig.refresh(&session);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let turn = Arc::new(Semaphore::new(1)).try_acquire_owned();
    rig.tell(184, ToActor::Revalidate(turn.expect("a turn")))
        .await;
    rig.settle().await;
    let before = rig.ledger.reads();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(rig.ledger.reads() > before);
    rig.ledger.hold_reads(false);
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "refresh v0"]);
}

#[actix_rt::test]
async fn readers_that_wait_are_forgotten_in_time_though_the_last_session_takes_its_timer_along() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    let answer = rig.read_from(184, false, Some(99));
    rig.settle().await;
    rig.tell(
        184,
        ToActor::DetachSession {
            session_id: session.id,
        },
    )
    .await;
    drop(answer);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(
        (
            rig.counter(184, "version_waiters").await,
            rig.counter(184, "tasks").await
        ),
        (0, 0)
    );
}
