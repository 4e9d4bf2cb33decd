//! Other processes commit to the same ledger.

use std::time::Duration;

use super::rig::Rig;
use crate::clock::Mono;
use crate::coordinator::heard::{HeardCommit, HeardEntries, Partition, Partitions};
use crate::coordinator::messages::{Missed, ToActor};
use crate::coordinator::policy::Checks;
use crate::domain::{Kind, UserId};
use crate::ledger::{Lane, Ledger as _};

/// In milliseconds.
const CHECK_MS: u64 = 30_000;

async fn rig() -> Rig {
    let rig = Rig::start_as(|policy| {
        policy.checks = Some(Checks {
            every_ms: CHECK_MS,
            users_per_s: 20_000,
        });
    })
    .await;
    rig.ledger.keep_entries();
    rig
}

/// Other processes are there, and what they commit is told.
async fn rig_that_hears() -> Rig {
    let rig = rig().await;
    rig.coverage.cover_until(Mono::from_us(u64::MAX - 1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig
}

/// Another process commits an entry; what it tells of it.
fn elsewhere(rig: &Rig, event: &str, kind: Kind, minor: i64) -> ToActor {
    rig.ledger.write_elsewhere(184, event, kind, minor);
    let account = rig.ledger.tables_account(184);
    ToActor::Heard(HeardCommit {
        user_id: UserId::new(184).expect("a user id"),
        version_from: account.version - 1,
        version_to: account.version,
        balances: account.balances,
        entries: vec![HeardEntries {
            kind,
            source: kind.into(),
            count: 1,
        }],
        committed_at: rig.clock.wall(),
        age_us: 0,
    })
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
    assert_eq!(rig.counters.cluster.healed.get(), 2);
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
        (
            session.heard().len(),
            rig.counters.cluster.checked_users.get()
        ),
        (1, 0)
    );
    rig.coverage.cover_until(Mono::from_us(u64::MAX - 1));
    tokio::time::sleep(Duration::from_millis(CHECK_MS + 1000)).await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
    let checked = rig.counters.cluster.checked_users.get();
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
    let checked = rig.counters.cluster.checked_users.get();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(
        rig.counters.cluster.checked_users.get(),
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

/// A process that asks the ledger for answers.
async fn rig_that_asks() -> Rig {
    let rig = Rig::start_as(|policy| policy.reads_ask_ledger = true).await;
    rig.coverage.cover_until(Mono::from_us(u64::MAX - 1));
    rig.ledger.keep_entries();
    rig
}

/// Runs a test on a rig in a runtime of its own.
fn on(rig: impl Future<Output = Rig>, test: impl AsyncFn(Rig)) {
    actix_rt::System::new().block_on(async { test(rig.await).await });
}

/// With each reason why what a commit tells may be older than what others have answered.
fn on_each(test: impl AsyncFn(Rig)) {
    on(rig_that_asks(), &test);
    // What it hears of a user whose balance it does not know is hearsay.
    on(rig_that_hears(), &test);
    on(rig_beside_others(), &test);
}

/// Two commits of another process. The message of the first one is late, and that of the second never comes.
fn two_elsewhere(rig: &Rig) -> ToActor {
    let first = elsewhere(rig, "d1", Kind::Deposit, 5);
    elsewhere(rig, "d2", Kind::Deposit, 7);
    first
}

#[test]
fn what_another_process_tells_late_is_no_first_balance() {
    on_each(async |rig| {
        let late = two_elsewhere(&rig);
        rig.ledger.hold_reads(true);
        let session = rig.attach(184).await;
        rig.settle().await;
        rig.tell(184, late).await;
        rig.settle().await;
        assert_eq!(session.heard(), [""; 0]);
        rig.ledger.hold_reads(false);
        rig.settle().await;
        assert_eq!(session.heard(), ["snapshot v2"]);
    });
}

#[test]
fn what_another_process_tells_late_is_no_recovery() {
    on_each(async |rig| {
        rig.ledger.go_away(true);
        let session = rig.attach(184).await;
        rig.settle().await;
        rig.ledger.go_away(false);
        let late = two_elsewhere(&rig);
        rig.tell(184, late).await;
        rig.settle().await;
        assert_eq!(session.heard(), ["error ledger_unavailable"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(session.heard()[1..], ["recovered v2"]);
    });
}

#[test]
fn what_another_process_tells_late_is_no_answer_to_who_waits_for_a_version() {
    let test = async |rig: Rig| {
        let answer = rig.read_from(184, false, Some(1));
        rig.settle().await;
        let late = two_elsewhere(&rig);
        rig.tell(184, late).await;
        let view = answer.await.expect("answered").expect("a balance");
        assert_eq!((view.account.version, view.is_stale), (2, false));
    };
    on(rig_that_asks(), test);
    on(rig_beside_others(), test);
}

/// A later one may have been answered elsewhere since.
#[test]
fn an_own_commit_is_no_first_balance_beside_others() {
    let test = async |rig: Rig| {
        rig.ledger.hold_reads(true);
        let session = rig.attach(184).await;
        rig.settle().await;
        rig.post(184, "d1", Kind::Deposit, 5)
            .await
            .expect("accepted");
        rig.settle().await;
        assert_eq!(session.heard(), [""; 0]);
        rig.ledger.hold_reads(false);
        rig.settle().await;
        assert_eq!(session.heard(), ["snapshot v1"]);
    };
    on(rig_that_asks(), test);
    on(rig_beside_others(), test);
}

/// The read that a duplicate asks for fails, and no round finds what its version is known of.
#[actix_rt::test]
async fn what_a_duplicate_shows_to_be_missing_is_read_until_it_is_there() {
    let rig = rig_that_hears().await;
    let session = rig.attach(184).await;
    rig.settle().await;
    elsewhere(&rig, "d1", Kind::Deposit, 5);
    rig.ledger.spoil(Some(184));
    let again = rig
        .begin_post(184, "d1", Kind::Deposit, 5, Lane::Single)
        .await;
    again.await.expect("answered: a duplicate");
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0"]);
    rig.ledger.spoil(None);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(
        session
            .heard()
            .last()
            .is_some_and(|last| last.contains("v1")),
        "{:?}",
        session.heard()
    );
}

/// The duplicate is answered while the first balance is being read, from before what the duplicate tells of.
#[test]
fn what_a_duplicate_has_told_is_in_the_first_balance_that_is_being_read() {
    on_each(async |rig| {
        rig.ledger.hold_reads(true);
        let session = rig.attach(184).await;
        let answer = rig.read(184, true);
        rig.settle().await;
        elsewhere(&rig, "d1", Kind::Deposit, 5);
        let again = rig
            .begin_post(184, "d1", Kind::Deposit, 5, Lane::Single)
            .await;
        again.await.expect("answered: a duplicate");
        rig.ledger.hold_reads(false);
        let view = answer.await.expect("answered").expect("a balance");
        assert_eq!((view.account.version, view.is_stale), (1, false));
        rig.settle().await;
        assert_eq!(session.heard(), ["snapshot v1"]);
    });
}

/// The clock of the node that committed it is ahead.
#[actix_rt::test]
async fn an_entry_that_was_missed_verifies_nothing() {
    let rig = rig_that_hears().await;
    rig.read(184, false)
        .await
        .expect("answered")
        .expect("a balance");
    elsewhere(&rig, "d1", Kind::Deposit, 5);
    let user_id = UserId::new(184).expect("a user id");
    let found = rig.ledger.missed_entries(vec![(user_id, 0)]);
    let mut entries = found.await.expect("answered");
    entries[0].committed_at_us += 3_600_000_000;
    elsewhere(&rig, "d2", Kind::Deposit, 7);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.coverage.distrust(Partitions::ALL, rig.clock.mono());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let epoch = rig.ledger.standing().epoch_number();
    rig.tell(184, ToActor::Missed(Missed { entries, epoch }))
        .await;
    rig.settle().await;
    let answer = rig.read(184, false).await.expect("answered");
    assert_eq!(answer.expect("a balance").account.version, 2);
}

#[actix_rt::test]
async fn what_is_heard_late_verifies_nothing() {
    let rig = rig_that_hears().await;
    rig.read(184, false)
        .await
        .expect("answered")
        .expect("a balance");
    let late = two_elsewhere(&rig);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The second one is found to be missing.
    rig.coverage.distrust(Partitions::ALL, rig.clock.mono());
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.tell(184, late).await;
    rig.settle().await;
    let answer = rig.read(184, false).await.expect("answered");
    assert_eq!(answer.expect("a balance").account.version, 2);
}

#[actix_rt::test]
async fn a_commit_that_is_heard_is_pushed_as_its_kind_wants_it_and_once() {
    let rig = rig_that_hears().await;
    let session = rig.attach(184).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let deposit = elsewhere(&rig, "d1", Kind::Deposit, 5);
    rig.tell(184, deposit).await;
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
    let again = elsewhere(&rig, "d1", Kind::Deposit, 5);
    rig.tell(184, again).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(session.heard().len(), 2, "a known version moves nothing");
    let reward = elsewhere(&rig, "r2", Kind::Reward, 2);
    rig.tell(184, reward).await;
    rig.settle().await;
    assert_eq!(session.heard().len(), 2, "too soon");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(session.heard()[2..], ["paced v2 e1 +2"]);
    assert_eq!(rig.counters.cluster.healed.get(), 0, "nothing was missed");
}

#[actix_rt::test]
async fn what_is_heard_out_of_order_shows_the_newest_state_and_a_late_deposit_is_not_held_back() {
    let rig = rig_that_hears().await;
    let session = rig.attach(184).await;
    let first = elsewhere(&rig, "r1", Kind::Reward, 1);
    rig.tell(184, first).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let deposit = elsewhere(&rig, "d2", Kind::Deposit, 5);
    let reward = elsewhere(&rig, "r3", Kind::Reward, 1);
    rig.tell(184, reward).await;
    rig.settle().await;
    assert_eq!(session.heard(), ["snapshot v0", "paced v1 e1 +1"]);
    rig.tell(184, deposit).await;
    rig.settle().await;
    assert_eq!(session.heard()[2..], ["direct v3 e2 +6"]);
}

#[actix_rt::test]
async fn a_lost_message_before_one_that_came_is_asked_for_soon() {
    let rig = rig_that_hears().await;
    let session = rig.attach(184).await;
    let first = elsewhere(&rig, "r1", Kind::Reward, 1);
    rig.tell(184, first).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    elsewhere(&rig, "lost", Kind::Deposit, 5);
    let reward = elsewhere(&rig, "r3", Kind::Reward, 1);
    rig.tell(184, reward).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        session.heard(),
        ["snapshot v0", "paced v1 e1 +1", "direct v3 e2 +6"]
    );
}

#[actix_rt::test]
async fn a_lost_last_message_is_found_at_once_when_its_partition_is_distrusted() {
    let rig = rig_that_hears().await;
    let session = rig.attach(184).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    elsewhere(&rig, "lost", Kind::Deposit, 5);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(session.heard(), ["snapshot v0"]);
    let partition = Partition::of(UserId::new(184).expect("a user id"));
    let (other, own) = (
        Partition::all().find(|one| *one != partition).expect("one"),
        Partitions::NONE.with(partition),
    );
    rig.coverage
        .distrust(Partitions::NONE.with(other), rig.clock.mono());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(session.heard().len(), 1, "that was another partition");
    rig.coverage.distrust(own, rig.clock.mono());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(session.heard(), ["snapshot v0", "direct v1 e1 +5"]);
}

#[actix_rt::test]
async fn a_check_that_the_ledger_did_not_answer_is_made_again_soon() {
    let rig = rig_that_hears().await;
    let session = rig.attach(184).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    elsewhere(&rig, "lost", Kind::Deposit, 5);
    rig.ledger.go_away(true);
    rig.coverage.distrust(Partitions::ALL, rig.clock.mono());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(rig.counters.cluster.verified_age_seconds.get() > 4.0);
    rig.ledger.go_away(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        session.heard().contains(&"direct v1 e1 +5".to_owned()),
        "{:?}",
        session.heard()
    );
}

#[actix_rt::test]
async fn one_user_that_can_not_be_read_holds_up_no_other() {
    let rig = rig_beside_others().await;
    let (well, spoilt) = (rig.attach(184).await, rig.attach(185).await);
    rig.settle().await;
    rig.ledger.spoil(Some(185));
    rig.ledger.write_elsewhere(184, "d1", Kind::Deposit, 5);
    rig.ledger.write_elsewhere(185, "d2", Kind::Deposit, 5);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(well.heard().len(), 2, "{:?}", well.heard());
    assert_eq!(spoilt.heard(), ["snapshot v0"]);
    rig.ledger.spoil(None);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(spoilt.heard().len(), 2, "{:?}", spoilt.heard());
}
