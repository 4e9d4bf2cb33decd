//! The coordinator alone, in virtual time: real registry and actors over a ledger in memory and sessions that only listen.

mod administration;
mod answers;
mod costs;
mod listener;
mod losses;
mod others;
mod pending;
mod rig;

use std::time::Duration;

use rig::{Rig, minutes};

use crate::coordinator::messages::{InspectRegistry, Shutdown, ToActor};
use crate::domain::Kind;
use crate::ledger::{Lane, PostError};

#[actix_rt::test]
async fn a_snapshot_comes_first_and_a_direct_change_at_once() {
    let rig = Rig::start().await;
    rig.ledger.hold_reads(true);
    let session = rig.attach(184).await;
    rig.settle().await;
    assert_eq!(
        session.heard(),
        Vec::<String>::new(),
        "nothing before the snapshot"
    );
    rig.ledger.hold_reads(false);
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0"]);
    rig.post(184, "d1", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
}

#[actix_rt::test]
async fn paced_changes_are_summed_up_and_wait_for_the_rule() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    for event in ["r1", "r2", "r3"] {
        rig.post(184, event, Kind::Reward, 2)
            .await
            .expect("accepted");
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    // r3 came at 2 s; its debounce ends at 3.5 s.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(session.heard(), ["snapshot v0"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(session.heard(), ["snapshot v0", "paced v3 e3 +6"]);
    rig.post(184, "r4", Kind::Reward, 1)
        .await
        .expect("accepted");
    tokio::time::sleep(Duration::from_millis(4700)).await;
    assert_eq!(session.heard().len(), 2, "min_interval since the last push");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(session.heard()[2], "paced v4 e1 +1");
}

#[actix_rt::test]
async fn refreshes_at_once_share_one_read_and_none_gets_a_read_that_began_before_it() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    let before = rig.ledger.reads();
    for _ in 0..10 {
        rig.refresh(&session);
    }
    rig.settle().await;
    assert_eq!(rig.ledger.reads() - before, 1);
    rig.ledger.hold_reads(true);
    rig.refresh(&session);
    rig.settle().await;
    rig.ledger.write_behind(184, "by-hand", 7);
    rig.refresh(&session);
    rig.settle().await;
    rig.ledger.hold_reads(false);
    rig.settle().await;
    assert_eq!(
        session.heard().last().map(String::as_str),
        Some("refresh v1")
    );
    assert_eq!(rig.ledger.reads() - before, 3);
}

#[actix_rt::test]
async fn what_another_writer_committed_reaches_the_other_sessions_paced() {
    let rig = Rig::start().await;
    let (one, other) = (rig.attach(184).await, rig.attach(184).await);
    rig.settle().await;
    rig.ledger.write_behind(184, "elsewhere", 7);
    rig.refresh(&one);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(one.heard(), ["snapshot v0", "refresh v1"]);
    assert_eq!(other.heard(), ["snapshot v0", "paced v1 e1 +7"]);
}

#[actix_rt::test]
async fn an_outage_shows_the_last_value_as_stale_or_an_error_and_heals_unasked() {
    let rig = Rig::start().await;
    let knows = rig.attach(1).await;
    rig.post(1, "d1", Kind::Deposit, 5).await.expect("accepted");
    rig.settle().await;
    rig.ledger.go_away(true);
    rig.refresh(&knows);
    let new = rig.attach(2).await;
    rig.settle().await;
    assert_eq!(knows.heard()[2..], ["refresh v1 stale"]);
    assert_eq!(new.heard(), ["error ledger_unavailable"]);
    assert_eq!(
        rig.post(1, "d2", Kind::Deposit, 5).await,
        Err(PostError::Unavailable)
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.ledger.go_away(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(knows.heard()[3..], ["recovered v1"]);
    assert_eq!(new.heard()[1..], ["recovered v0"]);
}

#[actix_rt::test]
async fn an_actor_that_panics_is_made_again_and_its_sessions_go_on() {
    let rig = Rig::start().await;
    let (session, bystander) = (rig.attach(184).await, rig.attach(185).await);
    rig.post(184, "d1", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    rig.tell(184, ToActor::Crash).await;
    rig.settle().await;
    rig.post(184, "d2", Kind::Deposit, 5)
        .await
        .expect("accepted");
    rig.settle().await;
    assert_eq!(
        session.heard(),
        [
            "snapshot v0",
            "direct v1 e1 +5",
            "snapshot v1",
            "direct v2 e1 +5"
        ]
    );
    assert_eq!(bystander.heard(), ["snapshot v0"]);
    let totals = rig.registry.send(InspectRegistry).await.expect("alive");
    assert_eq!((totals.actors_rebuilt, totals.actors_with_sessions), (1, 2));
}

#[actix_rt::test]
async fn a_commit_whose_actor_died_still_reaches_the_sessions() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.hold_posts(true);
    let unheard = rig
        .begin_post(184, "d1", Kind::Deposit, 5, Lane::Single)
        .await;
    rig.settle().await;
    rig.tell(184, ToActor::Crash).await;
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "snapshot v0"]);
    rig.ledger.hold_posts(false);
    rig.settle().await;
    assert!(
        unheard.await.is_err(),
        "its outcome is unknown to the sender"
    );
    assert_eq!(session.heard()[2..], ["direct v1 e1 +5"]);
}

#[actix_rt::test]
async fn idle_actors_are_bounded_and_leave_when_they_are_old() {
    let rig = Rig::start().await;
    let _stays = rig.attach(1).await;
    for user in 100..120 {
        rig.post(user, &format!("e{user}"), Kind::Reward, 1)
            .await
            .expect("accepted");
    }
    let totals = rig.registry.send(InspectRegistry).await.expect("alive");
    assert_eq!(
        (totals.actors_with_sessions, totals.actors_idle),
        (1, rig::CACHE_ENTRIES_MAX)
    );
    assert_eq!(totals.cache_evictions, 20 - rig::CACHE_ENTRIES_MAX as u64);
    tokio::time::sleep(minutes(7)).await;
    let totals = rig.registry.send(InspectRegistry).await.expect("alive");
    assert_eq!((totals.actors_with_sessions, totals.actors_idle), (1, 0));
    rig.post(100, "again", Kind::Reward, 1)
        .await
        .expect("a new actor");
}

#[actix_rt::test]
async fn an_actor_with_something_under_way_is_never_retired() {
    let rig = Rig::start().await;
    rig.ledger.hold_posts(true);
    let mut waiting = Vec::new();
    for user in 100..120 {
        waiting.push(
            rig.begin_post(user, &format!("e{user}"), Kind::Reward, 1, Lane::Bulk)
                .await,
        );
    }
    rig.settle().await;
    tokio::time::sleep(minutes(10)).await;
    rig.ledger.hold_posts(false);
    rig.settle().await;
    for answer in waiting {
        assert!(rig::version(answer.await.expect("answered")).is_ok());
    }
    tokio::time::sleep(minutes(10)).await;
    let totals = rig.registry.send(InspectRegistry).await.expect("alive");
    assert_eq!(totals.actors, 0);
}

#[actix_rt::test]
async fn a_session_that_does_not_read_gets_the_last_state_when_it_does() {
    let rig = Rig::start().await;
    let (slow, quick) = (rig.attach(184).await, rig.attach(184).await);
    rig.settle().await;
    slow.stall(true).await;
    for n in 1..=60 {
        rig.post(184, &format!("d{n}"), Kind::Deposit, 1)
            .await
            .expect("accepted");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(
        quick.heard().last().map(String::as_str),
        Some("direct v60 e1 +1")
    );
    slow.stall(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let heard = slow.heard();
    assert_eq!(heard.last().map(String::as_str), Some("recovered v60"));
    assert!(heard.len() < 40, "bounded: {}", heard.len());
}

#[actix_rt::test]
async fn the_oldest_session_makes_room_and_stopping_closes_them_all() {
    let rig = Rig::start().await;
    let mut sessions = Vec::new();
    for _ in 0..=rig::SESSIONS_PER_USER_MAX {
        sessions.push(rig.attach(184).await);
        rig.settle().await;
    }
    assert_eq!(
        sessions[0].heard(),
        ["snapshot v0", "close TooManySessions"]
    );
    rig.tell(
        184,
        ToActor::DetachSession {
            session_id: sessions[1].id,
        },
    )
    .await;
    rig.registry.send(Shutdown).await.expect("alive");
    rig.settle().await;
    assert_eq!(sessions[1].heard(), ["snapshot v0"]);
    assert_eq!(sessions[2].heard(), ["snapshot v0", "close GoingAway"]);
    let late = rig.attach(184).await;
    rig.settle().await;
    assert_eq!(late.heard(), ["close GoingAway"]);
    assert_eq!(
        rig.post(184, "e", Kind::Reward, 1).await,
        Err(PostError::ShuttingDown)
    );
}

#[actix_rt::test]
async fn a_session_that_does_not_read_is_closed_when_it_can_hear_it() {
    let rig = Rig::start().await;
    let slow = rig.attach(184).await;
    rig.settle().await;
    slow.stall(true).await;
    for n in 1..=40 {
        rig.post(184, &format!("d{n}"), Kind::Deposit, 1)
            .await
            .expect("accepted");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let mut newer = Vec::new();
    for _ in 0..rig::SESSIONS_PER_USER_MAX {
        newer.push(rig.attach(184).await);
        rig.settle().await;
    }
    slow.stall(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        slow.heard().last().map(String::as_str),
        Some("close TooManySessions")
    );
    assert!(
        newer
            .iter()
            .all(|session| session.heard() == ["snapshot v40"])
    );
}

#[actix_rt::test]
async fn a_large_atomic_batch_of_one_user_is_told_to_its_end() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    let posted = rig.post_atomic(184, 9000).await.await.expect("answered");
    assert_eq!(posted.outcomes.len(), 9000);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(session.heard(), ["snapshot v0", "paced v9000 e9000 +9000"]);
}

#[actix_rt::test]
async fn a_change_that_did_not_fit_into_a_full_mailbox_is_read_from_the_ledger() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.post(184, "known", Kind::Reward, 1)
        .await
        .expect("accepted");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let repeats = rig.repeat(184, "known", 5000);
    let posted = rig.post_atomic(184, 10).await.await.expect("answered");
    assert_eq!(posted.outcomes.len(), 10);
    let answered = futures_util::future::join_all(repeats).await;
    let refused = answered
        .into_iter()
        .filter(|posted| rig::is_overloaded(posted.as_ref().expect("answered")));
    assert!(refused.count() > 0, "the mailbox was full");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        session.heard(),
        ["snapshot v0", "paced v1 e1 +1", "paced v11 e10 +10"]
    );
}

#[actix_rt::test]
async fn an_actor_that_died_with_messages_waiting_is_forgotten_in_time() {
    let rig = Rig::start().await;
    rig.post(184, "e", Kind::Reward, 1).await.expect("accepted");
    rig.crash_with_messages_behind(184);
    tokio::time::sleep(minutes(10)).await;
    let totals = rig.registry.send(InspectRegistry).await.expect("alive");
    assert_eq!(totals.actors, 0);
}

#[actix_rt::test]
async fn a_burst_for_a_new_user_fits_its_mailbox() {
    let rig = Rig::start().await;
    rig.settle().await;
    let answers = rig.burst(184, 500);
    for (n, answer) in (1..).zip(answers) {
        assert_eq!(rig::version(answer.await.expect("answered")), Ok(n));
    }
}

#[actix_rt::test]
async fn a_cache_of_one_holds_a_batch_of_many_users() {
    let rig = Rig::start_with_cache(1).await;
    rig.ledger.hold_posts(true);
    let mut answers = Vec::new();
    for user in 1..=10 {
        answers.extend(rig.burst(user, 1));
    }
    rig.settle().await;
    rig.ledger.hold_posts(false);
    for answer in answers {
        assert_eq!(rig::version(answer.await.expect("answered")), Ok(1));
    }
}

#[actix_rt::test]
async fn a_duplicate_that_the_actor_has_not_heard_of_makes_it_look() {
    let rig = Rig::start().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.write_behind(184, "elsewhere", 7);
    let again = rig
        .begin_post(184, "elsewhere", Kind::Reward, 7, Lane::Single)
        .await;
    assert!(again.await.is_ok());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(session.heard(), ["snapshot v0", "paced v1 e1 +7"]);
}

#[actix_rt::test]
async fn a_users_entries_keep_their_order_however_many_are_under_way() {
    let rig = Rig::start().await;
    rig.ledger.hold_posts(true);
    let mut answers = Vec::new();
    for n in 1..=600 {
        answers.push(
            rig.begin_post(184, &format!("e{n}"), Kind::Reward, 1, Lane::Single)
                .await,
        );
    }
    rig.settle().await;
    rig.ledger.hold_posts(false);
    for (n, answer) in (1..).zip(answers) {
        assert_eq!(rig::version(answer.await.expect("answered")), Ok(n));
    }
    assert!(
        rig.ledger.postings() < 20,
        "what waits goes together: {}",
        rig.ledger.postings()
    );
}
