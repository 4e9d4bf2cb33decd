//! What every session has been shown is no longer pending.

use std::time::Duration;

use crate::coordinator::messages::ToActor;
use crate::coordinator::tests::rig::{Rig, Session};
use crate::domain::Kind;

const DIRECT_INTERVAL: Duration = Duration::from_millis(100);

/// A rig whose user 184 has these sessions, and was just pushed a deposit of 1.
async fn pushed_to(count: usize) -> (Rig, Vec<Session>) {
    let rig = Rig::start().await;
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(rig.attach(184).await);
    }
    rig.settle().await;
    rig.post(184, "first", Kind::Deposit, 1)
        .await
        .expect("accepted");
    rig.settle().await;
    (rig, sessions)
}

impl Rig {
    async fn deposit(&self, event: &str, minor: i64) {
        self.post(184, event, Kind::Deposit, minor)
            .await
            .expect("accepted");
    }

    async fn reward(&self, event: &str, minor: i64) {
        self.post(184, event, Kind::Reward, minor)
            .await
            .expect("accepted");
    }

    async fn show(&self, session: &Session) {
        self.refresh(session);
        self.settle().await;
    }
}

/// What was heard after the first push.
fn later(session: &Session) -> Vec<String> {
    session.heard().split_off(2)
}

#[actix_rt::test]
async fn a_deposit_that_a_refresh_has_shown_makes_no_later_reward_direct() {
    let (rig, sessions) = pushed_to(1).await;
    rig.deposit("d2", 5).await;
    rig.show(&sessions[0]).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    rig.reward("r3", 2).await;
    tokio::time::sleep(Duration::from_millis(1400)).await;
    assert_eq!(later(&sessions[0]), ["refresh v2"], "the reward is paced");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(later(&sessions[0]), ["refresh v2", "paced v3 e1 +2"]);
}

#[actix_rt::test]
async fn a_change_is_pending_until_the_last_session_has_been_sent_it() {
    let (rig, sessions) = pushed_to(2).await;
    rig.deposit("d2", 5).await;
    rig.show(&sessions[0]).await;
    tokio::time::sleep(DIRECT_INTERVAL).await;
    assert_eq!(later(&sessions[0]), ["refresh v2"]);
    assert_eq!(later(&sessions[1]), ["direct v2 e1 +5"]);
    // Each is shown a part; what both have been shown is over, and the rest is counted from there.
    rig.reward("r3", 1).await;
    rig.show(&sessions[0]).await;
    rig.reward("r4", 10).await;
    rig.show(&sessions[1]).await;
    rig.reward("r5", 100).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(later(&sessions[0])[1..], ["refresh v3", "paced v5 e2 +110"]);
    assert_eq!(later(&sessions[1])[1..], ["refresh v4", "paced v5 e2 +110"]);
}

#[actix_rt::test]
async fn the_session_that_held_the_changes_back_may_leave() {
    let (rig, sessions) = pushed_to(2).await;
    rig.deposit("d2", 5).await;
    rig.show(&sessions[0]).await;
    let session_id = sessions[1].id;
    rig.tell(184, ToActor::DetachSession { session_id }).await;
    rig.reward("r3", 2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(later(&sessions[0]), ["refresh v2", "paced v3 e1 +2"]);
}

#[actix_rt::test]
async fn a_session_that_attaches_starts_from_its_snapshot_and_holds_nothing_back() {
    let (rig, sessions) = pushed_to(1).await;
    rig.deposit("d2", 5).await;
    let new = rig.attach(184).await;
    tokio::time::sleep(DIRECT_INTERVAL).await;
    assert_eq!(later(&sessions[0]), ["direct v2 e1 +5"]);
    assert_eq!(new.heard(), ["snapshot v2"]);
    rig.deposit("d3", 7).await;
    tokio::time::sleep(DIRECT_INTERVAL).await;
    assert_eq!(new.heard()[1..], ["direct v3 e1 +7"]);
    assert_eq!(later(&sessions[0])[1..], ["direct v3 e1 +7"]);
}

#[actix_rt::test]
async fn a_session_that_takes_nothing_holds_nothing_back_and_is_sent_what_is_right() {
    let (rig, sessions) = pushed_to(2).await;
    sessions[0].stall(true).await;
    for n in 0..40 {
        rig.deposit(&format!("d{n}"), 1).await;
        tokio::time::sleep(DIRECT_INTERVAL).await;
    }
    rig.deposit("shown", 5).await;
    rig.show(&sessions[1]).await;
    rig.reward("r", 2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let shown = later(&sessions[1]);
    assert_eq!(shown[40..], ["refresh v42", "paced v43 e1 +2"]);
    sessions[0].stall(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        sessions[0].heard().last().map(String::as_str),
        Some("recovered v43")
    );
    rig.deposit("last", 3).await;
    rig.settle().await;
    for session in &sessions {
        assert_eq!(
            session.heard().last().map(String::as_str),
            Some("direct v44 e1 +3")
        );
    }
}

#[actix_rt::test]
async fn without_a_session_nothing_stays_pending() {
    let (rig, sessions) = pushed_to(1).await;
    let session_id = sessions[0].id;
    rig.deposit("d2", 5).await;
    rig.tell(184, ToActor::DetachSession { session_id }).await;
    let new = rig.attach(184).await;
    rig.reward("r3", 2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(new.heard(), ["snapshot v2", "paced v3 e1 +2"]);
}
