//! What happens on chain is in the ledger: once, in order, as it was.

use serde_json::json;

use crate::support::TestApp;
use crate::support::chain::{Chain, Fault, address};
use crate::{Watching, balance, service, until_balance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_on_chain_is_a_deposit_in_the_ledger() {
    let (chain, app) = (Chain::start().await, service().await);
    let hash = chain.deposit(&address(1), "1500000000", " user:184 ");
    Watching::of(&chain, &app, &address(1)).once();
    let entries = app.entries(184).await;
    let [entry] = &entries[..] else {
        panic!("{entries:?}");
    };
    for (field, expected) in [
        ("event_id", format!("ton:{hash}")),
        ("tx_hash", hash.clone()),
        ("kind", "deposit".into()),
        ("currency", "TON".into()),
        ("amount", "1.500000000".into()),
        ("source", "ton".into()),
        ("lt", "50000000000007".into()),
        ("account", address(0x77).to_lowercase()),
        ("occurred_at", "2025-11-28T03:20:01.000000Z".into()),
    ] {
        assert_eq!(entry[field], expected, "{field}");
    }
    assert_eq!(entry["metadata"], json!({"comment": " user:184 "}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_watcher_follows_several_accounts_and_ends_well() {
    let (chain, app) = (Chain::start().await, service().await);
    let accounts = format!("{},{}", address(1), address(2));
    let mut watcher = Watching::of(&chain, &app, &accounts).start();
    chain.deposit(&address(1), "1", "1");
    until_balance(&app, 1, "0.000000001").await;
    chain.deposit(&address(2), "5000000000", "2");
    chain.deposit(&address(3), "7000000000", "2");
    until_balance(&app, 2, "5.000000000").await;
    watcher.signal("TERM");
    assert!(watcher.wait(crate::PATIENCE).await.success());
    assert!(watcher.log().contains(&format!(
        "{}: from the first transaction on",
        address(1).to_lowercase()
    )));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_account_begins_now_and_goes_on_where_it_was() {
    let (chain, app) = (Chain::start().await, service().await);
    chain.deposit(&address(1), "1000000000", "184");
    let watching = Watching::of(&chain, &app, &address(1)).set("START", "now");
    watching.once();
    assert_eq!(balance(&app, 184).await, "0.000000000");
    chain.deposit(&address(1), "2000000000", "184");
    watching.once();
    chain.deposit(&address(1), "4000000000", "184");
    watching.once();
    assert_eq!(balance(&app, 184).await, "6.000000000");
    assert_eq!(app.entries(184).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logical_time_to_begin_at_is_included() {
    let (chain, app) = (Chain::start().await, service().await);
    for value in ["1000000000", "2000000000", "4000000000"] {
        chain.deposit(&address(1), value, "184");
    }
    let watching = Watching::of(&chain, &app, &address(1)).set("START", "50000000000014");
    watching.once();
    assert_eq!(balance(&app, 184).await, "6.000000000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_in_pages_that_are_cut_shuffled_and_doubled_is_worked_off() {
    let (chain, app) = (Chain::start().await, service().await);
    for number in 0..1_300 {
        chain.deposit(&address(1), "1000000000", &(1 + number % 3).to_string());
    }
    chain.pages_of(450);
    chain.faults([Fault::Shuffled, Fault::Shuffled]);
    Watching::of(&chain, &app, &address(1)).once();
    assert_eq!(balance(&app, 1).await, "434.000000000");
    assert_eq!(balance(&app, 2).await, "433.000000000");
    assert_eq!(accepted(&app).await, 1_300.0);
}

/// The watcher asks once for each full page, and sends each half of it as one batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_takes_one_request_for_a_thousand_transactions_and_two_batches() {
    // By hand: WATCHER_BACKLOG=100000, in a release build, with -- --nocapture.
    let backlog: u32 =
        std::env::var("WATCHER_BACKLOG").map_or(5_000, |text| text.parse().expect("thousands"));
    let (chain, app) = (Chain::start().await, service().await);
    for number in 0..backlog {
        chain.deposit(&address(1), "1000000000", &(1 + number % 500).to_string());
    }
    let began = std::time::Instant::now();
    Watching::of(&chain, &app, &address(1))
        .set("REQUESTS_PER_S", "10")
        .once();
    let took = began.elapsed();
    assert_eq!(accepted(&app).await, f64::from(backlog));
    // The last one is empty.
    let requests = chain.requests();
    assert_eq!(requests.len() as u32, backlog.div_ceil(1_000) + 1);
    let scrape = app.metrics().await;
    let batches = scrape.value(
        r#"http_requests_total{listener="internal",route="/internal/v1/batch",status="200"}"#,
    );
    assert_eq!(batches, f64::from(backlog.div_ceil(500)));
    println!(
        "{backlog} transactions in {took:?}, with {} requests",
        requests.len()
    );
    app.assert_ledger_holds();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_final_is_waited_for() {
    let (chain, app) = (Chain::start().await, service().await);
    chain.push(&address(1), "1000000000", |message| {
        message["message_content"]["decoded"] =
            json!({"@type": "text_comment", "type": "text_comment", "comment": "184"});
        message["transaction"] = json!({"emulated": true, "finality": "pending"});
    });
    let watching = Watching::of(&chain, &app, &address(1));
    watching.once();
    assert_eq!(balance(&app, 184).await, "0.000000000");
    assert!(watching.unmatched().is_empty());
    chain.finalize();
    watching.once();
    assert_eq!(balance(&app, 184).await, "1.000000000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jettons_arrive_at_the_wallet_of_the_listed_master_alone() {
    let (chain, app) = (Chain::start().await, service().await);
    let (owner, master, wallet) = (address(1), address(0xaa), address(0xbb));
    let file = app.dir.path().join("watch.toml");
    let text = format!(
        "[[watcher.accounts]]\naddress = \"{owner}\"\njetton_master = \"{master}\"\ncurrency = \"UNI\"\n"
    );
    std::fs::write(&file, text).expect("written");
    let mut watching = Watching::of(&chain, &app, "").set("START", "now");
    watching
        .settings
        .retain(|(name, _)| !name.ends_with("__ACCOUNTS"));
    let config = ["--once", "--config", file.to_str().expect("UTF-8")];
    // The wallet does not exist yet; another master's does.
    chain.wallet(&owner, &address(0xcc), &address(0xdd));
    assert!(watching.run(&config).status.success());
    chain.wallet(&owner, &master, &wallet);
    let arrival = |account: &str| {
        chain.push(account, "50000000", |message| {
            message["source"] = json!(address(0x66));
            message["opcode"] = json!("0x178d4519");
            // internal_transfer of 12.5 UNI with the comment 184, by the owner 0:99….
            let hash = message["message_content"]["hash"].clone();
            message["message_content"] = json!({"hash": hash, "body": TRANSFER, "decoded": null});
        });
    };
    arrival(&address(0xdd));
    arrival(&wallet);
    assert!(watching.run(&config).status.success());
    let entries = app.entries(184).await;
    let [entry] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert_eq!(entry["amount"], "12.500000000");
    assert_eq!(entry["currency"], "UNI");
    assert_eq!(entry["account"], address(0x99).to_lowercase());
}

/// `internal_transfer` of 12,500,000,000 units from `0:99…`, with the comment "184" in a reference.
const TRANSFER: &str = "te6ccgEBAgEAQQABaReNRRkAAAAAAAAAB1AukO3QCAEzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMggOAQAOAAAAADE4NA==";

async fn accepted(app: &TestApp) -> f64 {
    let scrape = app.metrics().await;
    scrape.value(r#"balance_entries_total{kind="deposit",outcome="accepted"}"#)
}
