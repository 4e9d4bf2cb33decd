//! Connections cut during COMMIT: swallowed before the server, executed with the answer lost, or
//! delivered after the service has closed the connection.

use std::time::Duration;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use crate::support::{Cluster, CommitFault, Database, Dice, Proxy, eventually, on_postgres};

use super::{Scene, app_on};

on_postgres![a_commit_that_is_cut_is_neither_lost_nor_doubled];

/// COMMITs to cut; `BALANCE_TEST_COMMIT_CUTS` overrides the number.
const CUTS: usize = 150;
/// One in this many COMMITs is cut.
const ONE_OF: u32 = 3;

async fn a_commit_that_is_cut_is_neither_lost_nor_doubled(_: Database) {
    let cuts = std::env::var("BALANCE_TEST_COMMIT_CUTS")
        .ok()
        .map_or(CUTS, |cuts| cuts.parse().expect("a number"));
    let mut dice = Dice::new("cargo test --test faults outages::commit_cut");
    // Delays: before the service reconnects, while it waits for the locks, and after the server has
    // ended the transaction.
    let late = [1, 30, 300, 1500].map(|ms| CommitFault::Late(Duration::from_millis(ms)));
    let kinds = [
        &[CommitFault::Swallowed, CommitFault::AnswerLost][..],
        &late[..],
    ];
    let mut plan = Vec::new();
    for round in 0..cuts {
        let rng = dice.of(round);
        plan.extend((0..rng.random_range(0..2 * ONE_OF - 1)).map(|_| None));
        let kind = kinds.choose(rng).expect("not empty");
        plan.push(kind.choose(rng).copied());
    }
    let cluster = Cluster::start();
    let proxy = Proxy::start(cluster.addr()).await;
    let scene = Scene::open(app_on(&cluster, Some(&proxy)).await).await;
    proxy.plan_commits(plan);
    let mut left = usize::MAX;
    // Bounded: each round executes some of the plan.
    while left > 0 {
        left = eventually("more COMMITs are cut", async || {
            let (_, _, now) = proxy.commits_cut();
            (now < left).then_some(now)
        })
        .await;
    }
    let (cut, late_and_done, _) = proxy.commits_cut();
    println!("{cut} COMMITs cut, of which {late_and_done} were carried out late");
    assert_eq!(cut as usize, cuts);
    scene.load_goes_on().await;
    scene.close(Some(&cluster)).await;
}
