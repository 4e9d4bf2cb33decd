//! What a person sees and does: deposits without a user, the lock, the metrics, wrong settings.

use serde_json::json;

use crate::support::chain::{Chain, Fault, address};
use crate::support::{PATIENCE, Scrape, eventually};
use crate::{Watching, balance, service, until_balance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_user_waits_for_a_person_and_is_assigned_once() {
    let (chain, app) = (Chain::start().await, service().await);
    let hash = chain.deposit(&address(1), "1500000000", "for the shoes");
    chain.deposit(&address(1), "1000000000", "185");
    let watching = Watching::of(&chain, &app, &address(1));
    watching.once();
    assert_eq!(balance(&app, 185).await, "1.000000000");
    let waiting = watching.unmatched();
    let [one] = &waiting[..] else {
        panic!("{waiting:?}");
    };
    assert_eq!(one["tx_hash"], hash);
    assert_eq!(one["reason"], "no_user_in_comment");
    assert_eq!(one["amount"], "1.500000000");
    assert_eq!(one["comment"], "for the shoes");

    // Any spelling; again; another user; one that is not there.
    use base64::Engine as _;
    let bytes = hex::decode(&hash).expect("hex");
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    for spelling in [&hash, &url, &hash.to_uppercase()] {
        let done = watching.run(&["assign", "--tx", spelling, "--user", "184"]);
        assert!(done.status.success(), "{done:?}");
    }
    let refused = watching.run(&["assign", "--tx", &hash, "--user", "185"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("assigned to user 184 already"));
    let unknown = watching.run(&["assign", "--tx", &"ab".repeat(32), "--user", "185"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(watching.unmatched().is_empty());
    let entries = app.entries(184).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["event_id"], format!("ton:{hash}"));
    assert_eq!(balance(&app, 184).await, "1.500000000");
    watching.once();
    assert_eq!(balance(&app, 184).await, "1.500000000");
}

/// Read with other currencies, an amount stays what it was when it was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amount_does_not_depend_on_the_currencies_of_the_command() {
    let (chain, app) = (Chain::start().await, service().await);
    let hash = chain.deposit(&address(1), "1500000000", "for the shoes");
    let watching = Watching::of(&chain, &app, &address(1));
    watching.once();
    let file = app.dir.path().join("other.toml");
    // No TON at all, and the account's currency is another.
    let text = format!(
        "[currencies.UNI]\ndecimals = 2\n[[watcher.accounts]]\naddress = \"{0}\"\njetton_master = \"{0}\"\ncurrency = \"UNI\"\n",
        address(1)
    );
    std::fs::write(&file, text).expect("written");
    let mut other = Watching::of(&chain, &app, "");
    other
        .settings
        .retain(|(name, _)| !name.ends_with("__ACCOUNTS"));
    let config = ["--config", file.to_str().expect("UTF-8")];
    let arguments = [&["assign", "--tx", &hash, "--user", "184"][..], &config].concat();
    let done = other.run(&arguments);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(balance(&app, 184).await, "1.500000000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_refuses_for_good_waits_for_a_person() {
    let chain = Chain::start().await;
    let app = crate::support::TestApp::on(crate::Database::Sqlite)
        .set("accounts.auto_create", false)
        .start()
        .await;
    chain.deposit(&address(1), "1000000000", "184");
    chain.deposit(&address(1), "2000000000", "184");
    let watching = Watching::of(&chain, &app, &address(1));
    watching.once();
    let reasons: Vec<_> = watching
        .unmatched()
        .iter()
        .map(|one| one["reason"].clone())
        .collect();
    assert_eq!(reasons, [json!("unknown_user"), json!("unknown_user")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_watcher_runs_on_a_state_file_and_people_work_beside_it() {
    let (chain, app) = (Chain::start().await, service().await);
    let watching = Watching::of(&chain, &app, &address(1));
    let hash = chain.deposit(&address(1), "1500000000", "who?");
    chain.deposit(&address(1), "1", "7");
    let watcher = watching.start();
    until_balance(&app, 7, "0.000000001").await;
    let second = watching.run(&["--once"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another watcher runs on it"));
    assert_eq!(watching.unmatched().len(), 1);
    let done = watching.run(&["assign", "--tx", &hash, "--user", "184"]);
    assert!(done.status.success(), "{done:?}");
    until_balance(&app, 184, "1.500000000").await;
    drop(watcher);
}

/// So a crash loop shows: the lag goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_does_not_forget_how_long_an_account_has_been_behind() {
    let (chain, app) = (Chain::start().await, service().await);
    let addr = free_address();
    let watching = Watching::of(&chain, &app, &address(1)).set("METRICS_ADDR", &addr);
    watching.once();
    let file = rusqlite::Connection::open(app.dir.path().join("ton-watcher.db")).expect("a file");
    let changed = file.execute("UPDATE up_to_date SET at_s = at_s - 4000", []);
    assert_eq!(changed, Ok(1));
    drop(file);
    chain.faults(vec![Fault::Status(500, None); 1_000]);
    let get = async |path: &str| {
        let answer = app.http.get(format!("http://{addr}{path}")).send().await;
        let answer = answer.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    for _ in 0..2 {
        let watcher = watching.start();
        let text = eventually("metrics", async || get("/metrics").await)
            .await
            .1;
        let series = format!(
            "ton_watcher_lag_seconds{{account=\"{}\"}}",
            address(1).to_lowercase()
        );
        let lag_s = Scrape::parse(&text).value(&series);
        assert!((4_000.0..5_000.0).contains(&lag_s), "{lag_s}");
        assert_eq!(get("/readyz").await.map(|answer| answer.0), Some(503));
        drop(watcher);
    }
}

/// An address that nothing listens on.
fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    free.local_addr().expect("an address").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_metrics_tell_what_became_of_each_transaction() {
    let (chain, app) = (Chain::start().await, service().await);
    chain.deposit(&address(1), "1", "7");
    chain.deposit(&address(1), "1", "nothing");
    chain.push(&address(1), "1", |message| message["bounced"] = json!(true));
    let addr = free_address();
    let watching = Watching::of(&chain, &app, &address(1)).set("METRICS_ADDR", &addr);
    let watcher = watching.start();
    until_balance(&app, 7, "0.000000001").await;
    let get = async |path: &str| {
        let answer = app
            .http
            .get(format!("http://{addr}{path}"))
            .send()
            .await
            .expect("it listens");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let start = std::time::Instant::now();
    let scrape = loop {
        let scrape = Scrape::parse(&get("/metrics").await.1);
        if scrape.value("ton_watcher_unmatched") == 1.0 {
            break scrape;
        }
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let account = address(1).to_lowercase();
    for (outcome, expected) in [
        ("sent", 1.0),
        ("unmatched", 1.0),
        ("ignored", 1.0),
        ("duplicate", 0.0),
    ] {
        let series = format!(
            "ton_watcher_transactions_total{{account=\"{account}\",outcome=\"{outcome}\"}}"
        );
        assert_eq!(scrape.value(&series), expected, "{outcome}");
    }
    assert!(scrape.value("ton_watcher_requests_total{status=\"200\"}") >= 1.0);
    assert_eq!(scrape.value("ton_watcher_gaps_total"), 0.0);
    assert!(scrape.value(&format!("ton_watcher_lag_seconds{{account=\"{account}\"}}")) < 20.0);
    assert!(scrape.value("ton_watcher_unmatched_oldest_timestamp_seconds") > 1e9);
    let text = get("/metrics").await.1;
    for path in [
        "deploy/prometheus/alerts.yaml",
        "deploy/grafana/balance-coordinator.json",
        "docs/metrics.md",
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let named = std::fs::read_to_string(&path).expect("it is there");
        let words = named.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let named: Vec<&str> = words
            .filter(|word| word.starts_with("ton_watcher_"))
            .collect();
        assert!(named.len() >= 4, "{path:?}: {named:?}");
        for name in named {
            assert!(
                text.contains(&format!("# TYPE {name} ")),
                "{path:?}: {name}"
            );
        }
    }
    assert_eq!(get("/healthz").await.0, 200);
    assert_eq!(get("/readyz").await.0, 200);
    drop(watcher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_named() {
    let (chain, app) = (Chain::start().await, service().await);
    for (key, value, named) in [
        ("ACCOUNTS", "", "watcher.accounts"),
        ("ACCOUNTS", "EQnonsense", "watcher.accounts[0].address"),
        (
            "ACCOUNTS",
            &format!("{0},{0}", address(1)),
            "watcher.accounts[1].address",
        ),
        ("START", "yesterday", "watcher.start"),
        ("START", "-1", "watcher.start"),
        ("USER_PATTERN", "(", "watcher.user_pattern"),
        ("USER_PATTERN", "[0-9]+", "watcher.user_pattern"),
        ("MIN_AMOUNT", "0", "watcher.min_amount"),
        ("MIN_AMOUNT", "0.0000000001", "watcher.min_amount"),
        ("API_URL", "toncenter.com", "watcher.api_url"),
        (
            "INTERNAL_URL",
            "http://u:p@127.0.0.1",
            "watcher.internal_url",
        ),
        ("REQUESTS_PER_S", "0", "watcher.requests_per_s"),
        ("POLL_MS", "0", "watcher.poll_ms"),
        ("METRICS_ADDR", "nowhere", "watcher.metrics_addr"),
    ] {
        let refused = Watching::of(&chain, &app, &address(1))
            .set(key, value)
            .run(&["--once"]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{key} {value}: {told}");
        assert!(told.contains(named), "{key} {value}: {told}");
    }
}
