//! Faults of the API, of the service and of the watcher itself: nothing is lost and nothing is there twice.

use std::time::Duration;

use crate::support::chain::{Chain, Fault, address};
use crate::support::{Process, eventually};
use crate::{PATIENCE, Watching, balance, service, until_balance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_api_is_waited_out() {
    for fault in [
        Fault::Status(429, Some(1)),
        Fault::Status(429, None),
        Fault::Status(500, None),
        Fault::Status(401, None),
        Fault::Status(404, None),
        Fault::CutJson,
        Fault::Html,
        Fault::HangUp,
        Fault::Behind(0),
        Fault::Behind(2),
        Fault::Shuffled,
        Fault::WithoutFirst,
        Fault::Foreign,
        Fault::Slow(Duration::from_millis(300)),
    ] {
        let (chain, app) = (Chain::start().await, service().await);
        chain.deposit(&address(2), "1", "184");
        for _ in 0..5 {
            chain.deposit(&address(1), "1000000000", "184");
        }
        chain.faults([fault.clone(), fault.clone()]);
        let watcher = Watching::of(&chain, &app, &address(1)).start();
        until_balance(&app, 184, "5.000000000").await;
        while chain.faults_left() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(app.entries(184).await.len(), 5, "{fault:?}");
        drop(watcher);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_a_page_is_read_again_and_counted() {
    let (chain, app) = (Chain::start().await, service().await);
    for _ in 0..4 {
        chain.deposit(&address(1), "1000000000", "184");
    }
    chain.faults([Fault::WithoutFirst]);
    let mut watcher = Watching::of(&chain, &app, &address(1))
        .set("METRICS_ADDR", "127.0.0.1:0")
        .start();
    until_balance(&app, 184, "4.000000000").await;
    watcher.signal("TERM");
    assert!(watcher.wait(PATIENCE).await.success());
    assert!(watcher.log().contains("are missing"), "{}", watcher.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_or_refuses_the_secret_is_waited_for() {
    let (chain, mut app) = (Chain::start().await, service().await);
    app.stop().await;
    chain.deposit(&address(1), "1000000000", "184");
    chain.deposit(&address(1), "2000000000", "184");
    let mut watcher = Watching::of(&chain, &app, &address(1)).start();
    let waits = |watcher: &Process| watcher.log().contains("tried again in");
    while !waits(&watcher) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // With another secret it refuses, and no place moves.
    app.reconfigure(
        "auth.webhook_secrets",
        vec!["whsec_YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMuLi4h"],
    );
    app.start_again().await;
    let advice = "check watcher.internal_url and auth.webhook_secrets";
    until_error(&watcher, advice).await;
    app.stop().await;
    app.reconfigure("auth.webhook_secrets", vec![crate::support::WEBHOOK_SECRET]);
    app.start_again().await;
    until_balance(&app, 184, "3.000000000").await;
    watcher.signal("INT");
    assert!(watcher.wait(PATIENCE).await.success());
}

/// Waits until the log has an error with this text.
async fn until_error(watcher: &Process, text: &str) {
    let is_it = |line: &str| line.contains(" ERROR ") && line.contains(text);
    eventually(text, async || {
        watcher.log().lines().any(is_it).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_refuses_the_key_is_an_error_and_one_that_is_busy_is_none() {
    let (chain, app) = (Chain::start().await, service().await);
    chain.deposit(&address(1), "1000000000", "184");
    chain.faults([Fault::Status(500, None), Fault::Status(403, None)]);
    let watcher = Watching::of(&chain, &app, &address(1)).start();
    until_balance(&app, 184, "1.000000000").await;
    until_error(&watcher, "check watcher.api_url and watcher.api_key").await;
    let log = watcher.log();
    let errors = log.lines().filter(|line| line.contains(" ERROR ")).count();
    assert_eq!(errors, 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_loses_and_doubles_nothing() {
    // By hand: WATCHER_KILLS=1000.
    let kills = std::env::var("WATCHER_KILLS").map_or(100, |text| text.parse().expect("a number"));
    let (chain, app) = (Chain::start().await, service().await);
    chain.pages_of(7);
    let watching = Watching::of(&chain, &app, &address(1)).set("REQUESTS_PER_S", "1000");
    let mut sent = 0;
    for round in 0..kills {
        for _ in 0..3 {
            sent += 1;
            chain.deposit(&address(1), "1000000000", "184");
        }
        let mut watcher = watching.start();
        // The moments are spread over the whole of a run.
        tokio::time::sleep(Duration::from_millis(
            u64::from(rand::random::<u8>()) / 2 + 20,
        ))
        .await;
        watcher.kill();
        assert!(round < kills);
    }
    watching.once();
    assert_eq!(balance(&app, 184).await, format!("{sent}.000000000"));
    let scrape = app.metrics().await;
    let accepted = scrape.value(r#"balance_entries_total{kind="deposit",outcome="accepted"}"#);
    assert_eq!(accepted, f64::from(sent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_is_kept_by_all_accounts_together_and_the_key_is_sent() {
    let (chain, app) = (Chain::start().await, service().await);
    let accounts = format!("{},{},{}", address(1), address(2), address(3));
    let watcher = Watching::of(&chain, &app, &accounts)
        .set("REQUESTS_PER_S", "5")
        .set("API_KEY", "geheim")
        .set("POLL_MS", "1")
        .start();
    while chain.requests().len() < 16 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(watcher);
    let requests = chain.requests();
    for some in requests.windows(6) {
        let took = some[5].0 - some[0].0;
        assert!(took > Duration::from_secs(1), "6 requests in {took:?}");
    }
    assert!(
        requests
            .iter()
            .all(|(_, target, key)| key.as_deref() == Some("geheim") && !target.contains("geheim"))
    );
}
