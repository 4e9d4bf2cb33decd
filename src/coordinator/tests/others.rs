//! Other processes commit to the same ledger.

use std::time::Duration;

use super::rig::Rig;
use crate::clock::Mono;
use crate::coordinator::heard::Partitions;
use crate::coordinator::policy::Checks;
use crate::domain::Kind;

/// In milliseconds.
const CHECK_MS: u64 = 30_000;

async fn rig() -> Rig {
    Rig::start_as(|policy| {
        policy.checks = Some(Checks {
            every_ms: CHECK_MS,
            users_per_s: 20_000,
        });
    })
    .await
}

/// Another process is there, and what it commits is not heard of.
async fn rig_beside_others() -> Rig {
    let rig = rig().await;
    rig.coverage.cover_until(Mono::default());
    // The next look notices.
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig
}

#[actix_rt::test]
async fn a_missed_deposit_is_pushed_at_once_and_a_missed_reward_paced() {
    let rig = rig_beside_others().await;
    let session = rig.attach(184).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.ledger.write_elsewhere(184, "d1", Kind::Deposit, 5);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
    rig.ledger.write_elsewhere(184, "r2", Kind::Reward, 7);
    rig.ledger.write_elsewhere(184, "r3", Kind::Reward, 1);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(session.heard().len(), 2, "too soon");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(session.heard()[2..], ["paced v3 e2 +8"]);
    assert_eq!(rig.counters.healed_users.get(), 2);
}

#[actix_rt::test]
async fn however_many_were_missed_all_of_them_come() {
    let rig = rig_beside_others().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    for n in 1..=40 {
        rig.ledger
            .write_elsewhere(184, &format!("r{n}"), Kind::Reward, 1);
    }
    rig.ledger.write_elsewhere(184, "last", Kind::Deposit, 2);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v41 e41 +42"]);
}

#[actix_rt::test]
async fn covered_the_check_is_a_net_and_a_process_that_is_alone_checks_nothing() {
    let rig = rig().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.write_elsewhere(184, "by hand", Kind::Deposit, 5);
    tokio::time::sleep(Duration::from_millis(2 * CHECK_MS)).await;
    assert_eq!(
        (session.heard().len(), rig.counters.checked_users.get()),
        (1, 0)
    );
    rig.coverage.cover_until(Mono::from_us(u64::MAX - 1));
    tokio::time::sleep(Duration::from_millis(CHECK_MS + 1000)).await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
    let checked = rig.counters.checked_users.get();
    assert!((1..=2).contains(&checked), "{checked}");
}

#[actix_rt::test]
async fn what_the_last_other_process_committed_before_it_went_is_found() {
    let rig = rig_beside_others().await;
    let session = rig.attach(184).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.ledger.write_elsewhere(184, "d1", Kind::Deposit, 5);
    rig.coverage.be_alone(rig.clock.mono());
    tokio::time::sleep(Duration::from_millis(2300)).await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
    let checked = rig.counters.checked_users.get();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(
        rig.counters.checked_users.get(),
        checked,
        "and then no more"
    );
}

#[actix_rt::test]
async fn a_deposit_between_own_entries_is_pushed_at_once() {
    let rig = rig_beside_others().await;
    let session = rig.attach(184).await;
    rig.post(184, "r1", Kind::Reward, 1)
        .await
        .expect("accepted");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(session.heard(), ["snapshot v0", "paced v1 e1 +1"]);
    rig.post(184, "r2", Kind::Reward, 1)
        .await
        .expect("accepted");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(session.heard()[2..], ["paced v2 e1 +1"]);
    rig.ledger.write_elsewhere(184, "d3", Kind::Deposit, 5);
    // The next own entry brings the state, before any check.
    rig.post(184, "r4", Kind::Reward, 1)
        .await
        .expect("accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(session.heard()[3..], ["direct v4 e2 +6"]);
}

#[actix_rt::test]
async fn memory_is_not_trusted_while_others_commit_unheard() {
    let rig = rig_beside_others().await;
    let read = async |is_fresh| {
        let answer = rig.read(184, is_fresh).await.expect("answered");
        answer.expect("a balance").account.version
    };
    assert_eq!(read(false).await, 0);
    rig.ledger.write_elsewhere(184, "d1", Kind::Deposit, 5);
    assert_eq!(read(false).await, 1, "it asks the ledger");
    let now = rig.clock.mono();
    rig.coverage.cover_until(now.plus_us(1_000_000));
    rig.ledger.write_elsewhere(184, "d2", Kind::Deposit, 5);
    assert_eq!(read(false).await, 1, "covered, it trusts what it read");
    let soon = rig.clock.mono().plus_us(1);
    rig.coverage.distrust(Partitions::ALL, soon);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(read(false).await, 2);
    rig.ledger.write_elsewhere(184, "d3", Kind::Deposit, 5);
    assert_eq!(read(false).await, 2, "verified since");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(read(false).await, 3, "its time is over");
}

#[actix_rt::test]
async fn a_process_of_a_cluster_asks_the_ledger_for_every_first_balance_and_read() {
    let rig = Rig::start_as(|policy| policy.reads_ask_ledger = true).await;
    let first = rig.attach(184).await;
    rig.settle().await;
    rig.ledger.write_elsewhere(184, "d1", Kind::Deposit, 5);
    let second = rig.attach(184).await;
    rig.settle().await;
    assert_eq!(second.heard(), ["snapshot v1"]);
    rig.ledger.write_elsewhere(184, "d2", Kind::Deposit, 5);
    let answer = rig.read(184, false).await.expect("answered");
    assert_eq!(answer.expect("a balance").account.version, 2);
    assert_eq!(first.heard()[0], "snapshot v0");
}
