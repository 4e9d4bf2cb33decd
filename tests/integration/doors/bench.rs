//! The bench of `--dev`: entries through the real signed webhooks, only for pages of this machine.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::development::start_dev;
use crate::support::toncenter::{TRANSACTIONS, mistakes};
use crate::support::{Answer, Database, PATIENCE, Process, TestApp, eventually, on_sqlite};
use crate::{assert_keys, assert_timestamp, with};

on_sqlite![without_development_there_is_no_bench_even_with_right_names];

/// A service in development, and a browser on the same machine.
struct Bench {
    _dir: tempfile::TempDir,
    service: Process,
    public: SocketAddr,
    http: reqwest::Client,
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut service = start_dev(dir.path());
        let (public, _) = service.addresses().await;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        Self {
            _dir: dir,
            service,
            public,
            http,
        }
    }

    async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = self
            .http
            .post(format!("http://{}{path}", self.public))
            .json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("whole")
    }

    async fn get(&self, url: &str) -> Answer {
        let got = self.http.get(url).send().await.expect("an answer");
        Answer::read(got).await.expect("whole")
    }

    /// Sends an entry and returns the answer.
    async fn send(&self, entry: Value) -> Value {
        let sent = self.post("/dev/v1/entries", &entry, &[]).await.ok();
        assert_keys(
            &sent,
            &[
                "status",
                "answer",
                "entry",
                "sent_at",
                "answered_at",
                "took_us",
            ],
        );
        assert_timestamp(&sent["sent_at"]);
        assert_timestamp(&sent["answered_at"]);
        assert!(sent["took_us"].as_u64().is_some_and(|us| us > 0), "{sent}");
        sent
    }
}

fn deposit() -> Value {
    json!({"kind": "deposit", "user_id": 184, "currency": "TON", "amount": "0.1"})
}

#[tokio::test]
async fn the_bench_sends_each_kind_through_the_signed_webhooks() {
    let bench = Bench::start().await;
    let first = bench.send(deposit()).await;
    assert_eq!(
        (&first["status"], &first["answer"]["version"]),
        (&json!(200), &json!(1)),
        "{first}"
    );
    assert_eq!(first["answer"]["event_id"], first["entry"]["event_id"]);
    assert_timestamp(&first["answer"]["committed_at"]);
    // Repeats the event with the returned entry.
    let again = bench
        .send(with(&first["entry"], json!({"kind": "deposit"})))
        .await;
    assert_eq!(
        (&again["answer"]["duplicate"], &again["answer"]["version"]),
        (&json!(true), &json!(1))
    );
    // Without an event id, each is a new event.
    assert_eq!(bench.send(deposit()).await["answer"]["version"], 2);
    let tick = json!({"kind": "reward", "currency": "UNI", "amount": "12.5", "source": "farming", "event_id": "tick:1"});
    let reward = bench.send(with(&deposit(), tick)).await;
    assert_eq!(
        (&reward["status"], &reward["answer"]["event_id"]),
        (&json!(200), &json!("tick:1")),
        "{reward}"
    );
    let withdrawal = bench
        .send(with(&deposit(), json!({"kind": "withdrawal"})))
        .await;
    assert_eq!(
        withdrawal["answer"]["balances"]["TON"], "0.100000000",
        "{withdrawal}"
    );
    let adjustment = bench
        .send(with(
            &deposit(),
            json!({"kind": "adjustment", "amount": "-0.05"}),
        ))
        .await;
    assert_eq!(
        adjustment["answer"]["balances"]["TON"], "0.050000000",
        "{adjustment}"
    );

    // The webhook's refusals are passed on unchanged.
    for (change, status, code) in [
        (
            json!({"kind": "withdrawal", "amount": "100"}),
            422,
            "insufficient_funds",
        ),
        (json!({"amount": 0.1}), 422, "invalid_amount"),
        (json!({"currency": "DOGE"}), 422, "unknown_currency"),
        (json!({"reason": "none"}), 422, "unknown_field"),
        (json!({"user_id": "184"}), 422, "invalid_field"),
        (json!({"event_id": "tick:1"}), 409, "idempotency_conflict"),
    ] {
        let refused = bench.send(with(&deposit(), change)).await;
        assert_eq!(
            (&refused["status"], &refused["answer"]["code"]),
            (&json!(status), &json!(code)),
            "{refused}"
        );
    }
    for kind in [json!(null), json!("refund"), json!(1)] {
        let answer = bench
            .post(
                "/dev/v1/entries",
                &with(&deposit(), json!({"kind": kind})),
                &[],
            )
            .await;
        assert_eq!(answer.problem(422, "invalid_field")["field"], "kind");
    }
    bench
        .post("/dev/v1/entries", &json!([deposit()]), &[])
        .await
        .problem(400, "invalid_json");
    let large = with(&deposit(), json!({"metadata": {"x": "x".repeat(10_000)}}));
    bench
        .post("/dev/v1/entries", &large, &[])
        .await
        .problem(413, "body_too_large");

    // A page signed in here sees the deposit.
    let token = bench
        .post("/dev/v1/token", &json!({"user_id": 184}), &[])
        .await
        .ok()["token"]
        .clone();
    let balance = bench
        .http
        .get(format!("http://{}/api/v1/balance", bench.public));
    let balance = balance
        .bearer_auth(token.as_str().expect("a token"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        Answer::read(balance).await.expect("whole").ok()["version"],
        5
    );
}

#[tokio::test]
async fn the_bench_is_for_pages_of_this_machine_alone() {
    let bench = Bench::start().await;
    let own = bench.public.to_string();
    let port = bench.public.port();
    let named = format!("localhost:{port}");
    for (host, origin) in [
        ("evil.example", None),
        ("evil.example", Some("http://evil.example")),
        ("127.0.0.1.evil.example", None),
        ("localhost.evil.example", None),
        (own.as_str(), Some("https://evil.example")),
        (&own, Some("null")),
        (&own, Some("http://localhost.evil.example")),
        (&named, Some("https://evil.example")),
    ] {
        let mut headers = vec![("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        for path in ["/dev/v1/entries", "/dev/v1/token"] {
            let answer = bench.post(path, &deposit(), &headers).await;
            answer.problem(403, "origin_not_allowed");
        }
    }
    let [this, here] = [format!("http://{own}"), format!("http://{named}")];
    // A development server of this machine has another port.
    for (host, origin) in [
        (&own, this.as_str()),
        (&named, &here),
        (&own, "http://localhost:5173"),
    ] {
        let answer = bench
            .post(
                "/dev/v1/entries",
                &deposit(),
                &[("host", host), ("origin", origin)],
            )
            .await;
        assert_eq!(answer.ok()["status"], 200);
    }
    // Only the last three were accepted.
    let next = bench.send(deposit()).await;
    assert_eq!(next["answer"]["version"], 4);
}

#[tokio::test]
async fn the_demo_page_gets_its_token_with_a_plain_get() {
    let bench = Bench::start().await;
    for (query, refused) in [
        ("?user_id=184", None),
        ("?user_id=-1", Some("user_id")),
        ("?user_id=x", Some("user_id")),
        ("?user_id=184&ttl_s=5", Some("ttl_s")),
    ] {
        let url = format!("http://{}/dev/v1/token{query}", bench.public);
        let answer = bench.get(&url).await;
        match refused {
            None => assert!(answer.ok()["token"].is_string()),
            Some(field) => assert_eq!(answer.problem(422, "invalid_field")["field"], field),
        }
    }
}

#[tokio::test]
async fn the_wallet_pays_on_an_imitated_chain_and_the_watcher_brings_the_deposit() {
    let bench = Bench::start().await;
    let order = json!({"user_id": 184, "amount": "0.5"});
    let paid = bench.post("/dev/v1/chain", &order, &[]).await.ok();
    let keys = [
        "tx_hash", "account", "comment", "amount", "paid_at", "final_at", "read_at", "entry",
    ];
    assert_keys(&paid, &keys);
    assert_eq!(
        (&paid["final_at"], &paid["entry"]),
        (&Value::Null, &Value::Null)
    );
    let hash = paid["tx_hash"].as_str().expect("a hash");
    let of = |hash: &str| format!("http://{}/dev/v1/chain?tx_hash={hash}", bench.public);
    let steps = eventually("the deposit", async || {
        let steps = bench.get(&of(hash)).await.ok();
        Some(steps).filter(|steps| !steps["entry"].is_null())
    })
    .await;
    assert_keys(&steps, &keys);
    let entry = &steps["entry"];
    for (field, expected) in [
        ("event_id", json!(format!("ton:{hash}"))),
        ("kind", json!("deposit")),
        ("source", json!("ton")),
        ("amount", json!("0.500000000")),
        ("metadata", json!({"comment": "184"})),
        ("version", json!(1)),
    ] {
        assert_eq!(entry[field], expected, "{field}");
    }
    // Wallet, chain, watcher, ledger.
    let times = [
        &steps["paid_at"],
        &steps["final_at"],
        &steps["read_at"],
        &entry["committed_at"],
    ];
    let times = times.map(|time| time.as_str().expect("a time"));
    assert!(times.is_sorted(), "{times:?}");

    for (amount, code) in [
        (json!("0"), "invalid_amount"),
        (json!("-1"), "invalid_amount"),
        (json!("0.0000000001"), "invalid_amount"),
        (json!(1), "invalid_field"),
        (Value::Null, "invalid_field"),
    ] {
        let order = with(&order, json!({"amount": amount}));
        let refused = bench.post("/dev/v1/chain", &order, &[]).await;
        assert_eq!(refused.problem(422, code)["field"], "amount", "{amount}");
    }
    bench.get(&of("x")).await.problem(422, "invalid_tx_hash");
    bench
        .get(&of(&"ab".repeat(32)))
        .await
        .problem(404, "not_found");

    // The imitation answers as the real API does.
    let log = bench.service.log();
    let (_, rest) = log
        .split_once("a TON chain is imitated at ")
        .expect("it says where");
    let url = rest.split(',').next().expect("a URL");
    let account = paid["account"].as_str().expect("an account");
    let page = bench
        .get(&format!("{url}/transactions?account={account}&sort=asc"))
        .await
        .ok();
    assert_eq!(page["transactions"].as_array().map(Vec::len), Some(1));
    assert_eq!(mistakes(&page, &TRANSACTIONS), [] as [String; 0]);
}

async fn without_development_there_is_no_bench_even_with_right_names(database: Database) {
    let app = TestApp::on(database)
        .set("server.allowed_origins", vec!["*"])
        .start()
        .await;
    for listener in [app.public, app.internal] {
        for path in [
            "/dev/v1/entries",
            "/dev/v1/token",
            "/dev/v1/chain",
            "/dev/v1",
            "/demo/demo.js",
        ] {
            let request = app
                .http
                .post(format!("http://{listener}{path}"))
                .json(&deposit());
            let answer = request
                .header("origin", format!("http://{listener}"))
                .send()
                .await
                .expect("an answer");
            Answer::read(answer)
                .await
                .expect("whole")
                .problem(404, "not_found");
        }
    }
    assert!(app.entries(184).await.is_empty());
}

#[test]
fn the_demo_page_has_a_picture_and_words_in_both_languages_for_every_kind() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/demo");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let (page, words) = (read("index.html"), read("words.js"));
    let languages: Vec<&str> = words
        .lines()
        .filter(|line| line.trim_start().starts_with("sources: {"))
        .collect();
    assert_eq!(languages.len(), 2, "English and Russian");
    for kind in balance_coordinator::domain::Kind::ALL.map(|kind| kind.as_str()) {
        assert!(page.contains(&format!("id=\"icon-{kind}\"")), "{kind}");
        for line in &languages {
            assert!(line.contains(&format!(" {kind}: '")), "{kind}: {line}");
        }
    }
}
