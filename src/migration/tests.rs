//! Imports and comparisons against a small imitation of the service, which can lose answers and be busy.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::rt::spawn;
use actix_web::web::{Bytes, Data, PayloadConfig, Query, get, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{Settings, Sources};
use crate::credentials::webhook::Signed;
use crate::domain::{Amount, decimal};
use crate::migration::lines::tests::input;
use crate::migration::{
    Compared, Counts, MigrationError, Observer, Options, Refused, compare, import_balances,
    import_entries,
};

const SECRET: &str = "whsec_dGVzdC13ZWJob29rLXNlY3JldC1vZi0zMi1ieXRlcyE=";

/// What becomes of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is not taken.
    Busy,
    /// It is taken, and the answer says that it is not known.
    AnswerLost,
}

#[derive(Default)]
struct Ledger {
    /// Minor units by user and currency.
    balances: BTreeMap<i64, BTreeMap<String, i64>>,
    /// User, currency and amount by event id.
    entries: BTreeMap<String, (i64, String, i64)>,
    faults: VecDeque<Fault>,
    /// The most items of a batch.
    items_max: usize,
    batches: usize,
}

impl Ledger {
    fn post(&mut self, item: &Value) -> Value {
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        let refuse =
            |code: &str, field: &str| json!({"status": "rejected", "code": code, "field": field});
        let user_id = item["user_id"].as_i64().expect("a user");
        let Ok(amount) = Amount::parse(&text("amount"), 9) else {
            return refuse("invalid_amount", "amount");
        };
        let entry = (user_id, text("currency"), amount.minor());
        let event_id = match text("event_id") {
            id if id.is_empty() => format!("ton:{}", text("tx_hash")),
            id => id,
        };
        match self.entries.get(&event_id) {
            Some(known) if *known == entry => return json!({"status": "duplicate"}),
            Some(_) => return refuse("idempotency_conflict", "event_id"),
            None => {}
        }
        let balance = self.balances.entry(user_id).or_default();
        let balance = balance.entry(entry.1.clone()).or_default();
        if *balance + entry.2 < 0 {
            return refuse("insufficient_funds", "amount");
        }
        *balance += entry.2;
        self.entries.insert(event_id, entry);
        json!({"status": "accepted"})
    }
}

type Shared = Data<Mutex<Ledger>>;

/// The imitation, gone with [`Double::stop`].
struct Double {
    ledger: Shared,
    options: Options,
    handle: ServerHandle,
}

impl Double {
    fn start() -> Self {
        let ledger = Data::new(Mutex::new(Ledger {
            items_max: usize::MAX,
            ..Ledger::default()
        }));
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", socket.local_addr().expect("an address"));
        let shared = ledger.clone();
        let application = move || {
            App::new()
                .app_data(shared.clone())
                .app_data(PayloadConfig::new(1 << 26))
                .route("/internal/v1/batch", post().to(batch))
                .route("/internal/v1/balances", get().to(balances))
        };
        let server = HttpServer::new(application)
            .workers(1)
            .disable_signals()
            .listen(socket)
            .expect("it listens")
            .run();
        let handle = server.handle();
        spawn(server);
        let settings = settings();
        let secret = settings.auth.webhook_secrets[0].clone();
        let options = Options {
            batch_entries: 3,
            ..Options::new(&settings, secret, Some(url))
        };
        Self {
            ledger,
            options,
            handle,
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, user_id: i64, currency: &str, amount: &str) {
        let minor = Amount::parse_balance(amount, 9).expect("an amount").minor();
        let mut ledger = self.ledger();
        let balances = ledger.balances.entry(user_id).or_default();
        balances.insert(currency.to_owned(), minor);
    }

    fn balance(&self, user_id: i64, currency: &str) -> i64 {
        let ledger = self.ledger();
        let balances = ledger.balances.get(&user_id);
        balances
            .and_then(|all| all.get(currency).copied())
            .unwrap_or(0)
    }

    async fn align(&self, file: &str, label: &str) -> (Counts, Told) {
        let mut told = Told::default();
        let file = input(file.as_bytes());
        let counts = import_balances(&self.options, file, label, false, &mut told).await;
        (counts.expect("it answers"), told)
    }

    async fn compare(&self, file: &str) -> (Compared, Told) {
        let mut told = Told::default();
        let compared = compare(&self.options, input(file.as_bytes()), &mut told).await;
        (compared.expect("it answers"), told)
    }

    async fn stop(self) {
        self.handle.stop(false).await;
    }
}

fn settings() -> Settings {
    let secret = (
        "BALANCE_AUTH__WEBHOOK_SECRETS".to_owned(),
        SECRET.to_owned(),
    );
    let sources = Sources {
        dev_file: None,
        file: None,
        environment: [secret].into(),
    };
    Settings::load(&sources).expect("settings")
}

fn check_signature(request: &HttpRequest, body: &[u8]) {
    let header = |name: &str| {
        let value = request.headers().get(name).expect("a signed request");
        value.to_str().expect("text")
    };
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let secrets = settings().auth.webhook_secrets.clone();
    let verified = signed.verify(&secrets, body, Clock::system().now_s(), 300);
    assert_eq!(verified, Ok(()));
}

async fn batch(ledger: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    check_signature(&request, &body);
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.batches += 1;
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let items = body["entries"].as_array().expect("entries");
    if items.len() > ledger.items_max {
        return HttpResponse::PayloadTooLarge().json(json!({"code": "body_too_large"}));
    }
    let fault = ledger.faults.pop_front();
    let busy = || HttpResponse::ServiceUnavailable().json(json!({"code": "overloaded"}));
    if fault == Some(Fault::Busy) {
        return busy();
    }
    let results = items.iter().enumerate().map(|(index, item)| {
        let mut result = ledger.post(item);
        result["index"] = json!(index);
        result
    });
    let results: Vec<Value> = results.collect();
    match fault {
        Some(Fault::AnswerLost) => busy(),
        _ => HttpResponse::Ok().json(json!({"results": results})),
    }
}

#[derive(serde::Deserialize)]
struct Page {
    #[serde(default)]
    after: i64,
    limit: usize,
}

async fn balances(ledger: Shared, request: HttpRequest, page: Query<Page>) -> HttpResponse {
    check_signature(&request, b"");
    assert!((1..=1_000).contains(&page.limit));
    // Short pages show every seam.
    let limit = page.limit.min(2);
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let mut users = ledger.balances.range(page.after + 1..);
    let some: Vec<_> = users.by_ref().take(limit).collect();
    let last = some.last().map(|(user_id, _)| **user_id);
    let next = last.filter(|_| users.next().is_some());
    let some: Vec<Value> = some
        .into_iter()
        .map(|(user_id, balances)| {
            let of = |code: &str| {
                decimal(
                    balances
                        .get(code)
                        .copied()
                        .unwrap_or(0)
                        .unsigned_abs()
                        .into(),
                    9,
                )
            };
            let balances = json!({"TON": of("TON"), "UNI": of("UNI")});
            json!({"user_id": user_id, "version": 1, "balances": balances})
        })
        .collect();
    HttpResponse::Ok().json(json!({"balances": some, "next": next}))
}

/// What an observer was told.
#[derive(Debug, Default)]
struct Told {
    found: Vec<String>,
    /// Line and code.
    refused: Vec<(u64, String)>,
    steps: u64,
    done: u64,
}

impl Told {
    fn refusals(&self) -> Vec<(u64, &str)> {
        let refused = self.refused.iter();
        refused.map(|(line, code)| (*line, code.as_str())).collect()
    }
}

impl Observer for Told {
    fn begin(&mut self, steps: u64) {
        self.steps = steps;
    }

    fn advance(&mut self, steps: u64) {
        self.done += steps;
    }

    fn refused(&mut self, refused: &Refused) -> io::Result<()> {
        self.refused.push((refused.line, refused.code.clone()));
        Ok(())
    }

    fn found(&mut self, line: &str) -> io::Result<()> {
        self.found.push(line.to_owned());
        Ok(())
    }
}

const fn counts(accepted: u64, known: u64, rejected: u64) -> Counts {
    Counts {
        accepted,
        known,
        rejected,
    }
}

#[actix_web::test]
async fn each_balance_that_is_named_becomes_the_files_and_no_other_changes() {
    let double = Double::start();
    double.set(1, "TON", "5");
    double.set(2, "TON", "1.5");
    double.set(9, "UNI", "7");
    // Not in order; more than a batch and a page.
    let file = "user_id,currency,amount\n30,TON,4\n1,TON,2\n2,TON,1.5\n7,UNI,0.000000001\n1,UNI,3\n8,TON,0\n";
    let (done, told) = double.align(file, "first").await;
    assert_eq!(done, counts(4, 2, 0));
    assert_eq!((told.steps, told.done), (6, 6));
    let expected = [
        (1, "TON", 2_000_000_000),
        (1, "UNI", 3_000_000_000),
        (2, "TON", 1_500_000_000),
        (7, "UNI", 1),
        (9, "UNI", 7_000_000_000),
        (30, "TON", 4_000_000_000),
    ];
    for (user_id, currency, minor) in expected {
        assert_eq!(
            double.balance(user_id, currency),
            minor,
            "{user_id} {currency}"
        );
    }
    let event_ids: Vec<String> = double.ledger().entries.keys().cloned().collect();
    assert_eq!(
        event_ids,
        [
            "import:first:1:TON",
            "import:first:1:UNI",
            "import:first:30:TON",
            "import:first:7:UNI"
        ]
    );
    // Again: nothing is left to do. It goes on after an interruption in the same way.
    assert_eq!(double.align(file, "first").await.0, counts(0, 6, 0));
    assert_eq!(double.ledger().entries.len(), 4);
    double.stop().await;
}

#[actix_web::test]
async fn a_label_adjusts_a_balance_once() {
    let double = Double::start();
    let (old, new) = (
        "user_id,currency,amount\n1,TON,2\n2,TON,2\n",
        "user_id,currency,amount\n1,TON,3\n2,TON,2\n",
    );
    assert_eq!(double.align(old, "a").await.0, counts(2, 0, 0));
    let (done, told) = double.align(new, "a").await;
    assert_eq!(
        (done, told.refusals()),
        (counts(0, 1, 1), vec![(2, "label_used")])
    );
    // The same difference once more is no other adjustment.
    double.set(1, "TON", "0");
    let (done, told) = double.align(old, "a").await;
    assert_eq!(
        (done, told.refusals()),
        (counts(0, 1, 1), vec![(2, "label_used")])
    );
    assert_eq!(double.balance(1, "TON"), 0);
    assert_eq!(double.align(new, "b").await.0, counts(1, 1, 0));
    assert_eq!(double.balance(1, "TON"), 3_000_000_000);
    double.stop().await;
}

#[actix_web::test]
async fn a_lost_answer_a_busy_service_and_small_batches_double_nothing() {
    let double = Double::start();
    double.ledger().faults = [Fault::AnswerLost, Fault::Busy, Fault::AnswerLost].into();
    double.ledger().items_max = 2;
    let rows = (1..=7).map(|user_id| format!("{user_id},TON,{user_id}\n"));
    let file = format!("user_id,currency,amount\n{}", rows.collect::<String>());
    assert_eq!(double.align(&file, "a").await.0, counts(7, 0, 0));
    assert!(double.ledger().faults.is_empty());
    for user_id in 1..=7 {
        assert_eq!(double.balance(user_id, "TON"), user_id * 1_000_000_000);
    }
    double.stop().await;
}

#[actix_web::test]
async fn a_bad_line_is_refused_by_its_number_and_the_rest_is_done() {
    let double = Double::start();
    let file = "{\"user_id\":1,\"currency\":\"TON\",\"amount\":\"0.0000000001\"}\n\
         {\"user_id\":1,\"currency\":\"TON\",\"amount\":\"-1\"}\n\
         {\"user_id\":1,\"currency\":\"TON\",\"amount\":1}\n\
         {\"user_id\":1,\"currency\":\"XXX\",\"amount\":\"1\"}\n\
         {\"user_id\":0,\"currency\":\"TON\",\"amount\":\"1\"}\n\
         {\"user_id\":\"1\",\"currency\":\"TON\",\"amount\":\"1\"}\n\
         {\"user_id\":1,\"amount\":\"1\"}\n\
         {\"user_id\":1,\"currency\":\"TON\"}\n\
         [1]\n\
         {\"user_id\":2,\"currency\":\"TON\",\"amount\":\"1\",\"note\":\"x\"}\n\
         {\"user_id\":2,\"currency\":\"TON\",\"amount\":\"2\"}\n\
         {\"user_id\":2,\"currency\":\"TON\",\"amount\":\"9223372037\"}\n";
    let (done, told) = double.align(file, "a").await;
    let expected = [
        (1, "invalid_amount"),
        (2, "invalid_amount"),
        (3, "invalid_amount"),
        (4, "unknown_currency"),
        (5, "invalid_field"),
        (6, "invalid_field"),
        (7, "invalid_field"),
        (8, "invalid_field"),
        (9, "invalid_line"),
        (12, "invalid_amount"),
        (11, "named_twice"),
    ];
    assert_eq!(told.refusals(), expected);
    assert_eq!(done, counts(1, 0, 11));
    assert_eq!(double.balance(2, "TON"), 1_000_000_000);
    let mut told = Told::default();
    let file = input(b"user_id,amount\n1,2\n");
    let missing = import_balances(&double.options, file, "a", false, &mut told);
    let error = missing.await.expect_err("refused");
    assert!(matches!(error, MigrationError::File { .. }), "{error}");
    double.stop().await;
}

#[actix_web::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let double = Double::start();
    double.set(1, "TON", "5");
    let mut told = Told::default();
    let file = input(b"user_id,currency,amount\n2,UNI,1\n1,TON,4.5\n3,TON,0\n");
    let done = import_balances(&double.options, file, "a", true, &mut told).await;
    assert_eq!(done.expect("it answers"), counts(2, 1, 0));
    assert_eq!(
        told.found,
        [
            "1 TON 4.500000000 5.000000000 -0.500000000",
            "2 UNI 1.000000000 0.000000000 1.000000000"
        ]
    );
    assert_eq!(double.ledger().batches, 0);
    double.stop().await;
}

#[actix_web::test]
async fn a_comparison_tells_what_either_side_lacks_and_the_totals() {
    let double = Double::start();
    double.set(2, "TON", "1");
    double.set(3, "TON", "2");
    double.set(3, "UNI", "0.5");
    double.set(5, "TON", "7");
    let file =
        "user_id,currency,amount\n6,UNI,4\n3,UNI,0.5\n3,TON,2.5\n1,TON,1\n5,TON,7\n9,TON,0\n";
    let (compared, told) = double.compare(file).await;
    assert_eq!(
        told.found,
        [
            "1 TON 1.000000000 0.000000000 1.000000000",
            "2 TON 0.000000000 1.000000000 -1.000000000",
            "3 TON 2.500000000 2.000000000 0.500000000",
            "6 UNI 4.000000000 0.000000000 4.000000000",
            "total TON 10.500000000 10.000000000 0.500000000",
            "total UNI 4.500000000 0.500000000 4.000000000",
        ]
    );
    assert_eq!((compared.differences, compared.rejected), (4, 0));
    assert_eq!((told.steps, told.done), (6, 6));
    double.ledger().balances.clear();
    let (compared, told) = double.compare("").await;
    assert_eq!((compared.differences, told.found.len()), (0, 2));
    double.stop().await;
}

/// Whatever both sides have: after an import a comparison finds what the file does not name, and nothing else.
#[actix_web::test]
async fn after_an_import_only_what_the_file_does_not_name_differs() {
    use rand::{Rng as _, SeedableRng as _};
    let double = Double::start();
    for seed in 0..40 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        double.ledger().balances.clear();
        let mut rows = BTreeMap::new();
        for _ in 0..random.random_range(0..12) {
            let currency = ["TON", "UNI"][random.random_range(0..2)];
            let amount = random.random_range(0..3).to_string();
            double.set(random.random_range(1..12), currency, &amount);
            rows.insert(
                (random.random_range(1..12), currency),
                random.random_range(0..3),
            );
        }
        let rows = rows
            .iter()
            .map(|((user, currency), amount)| format!("{user},{currency},{amount}\n"));
        let rows: Vec<String> = rows.collect();
        let file = format!("user_id,currency,amount\n{}", rows.concat());
        let (done, _) = double.align(&file, &format!("seed{seed}")).await;
        assert_eq!(done.accepted + done.known, rows.len() as u64, "seed {seed}");
        let (_, told) = double.compare(&file).await;
        let differing = told.found.iter().filter(|line| !line.starts_with("total"));
        for line in differing {
            let words: Vec<&str> = line.split(' ').collect();
            let named = format!("{},{},", words[0], words[1]);
            assert!(
                !rows.iter().any(|row| row.starts_with(&named)),
                "seed {seed}: {line}"
            );
        }
    }
    double.stop().await;
}

#[actix_web::test]
async fn entries_are_posted_in_order_and_a_second_time_are_duplicates() {
    let double = Double::start();
    let hash = "ab".repeat(32);
    let file = format!(
        "kind,event_id,user_id,currency,amount,tx_hash\n\
         deposit,,1,TON,2,{hash}\n\
         adjustment,a1,1,TON,-2,\n\
         adjustment,a2,1,TON,-1,\n\
         reward,r1,2,UNI,nonsense,\n\
         reward,r2,2,UNI\n\
         reward,r3,2,UNI,1,\n"
    );
    for expected in [counts(3, 0, 3), counts(0, 3, 3)] {
        let mut told = Told::default();
        let done = import_entries(&double.options, input(file.as_bytes()), false, &mut told).await;
        assert_eq!(done.expect("it answers"), expected);
        let refused = [
            (4, "insufficient_funds"),
            (6, "invalid_line"),
            (5, "invalid_amount"),
        ];
        assert_eq!(told.refusals(), refused);
        assert_eq!(told.done, file.len() as u64);
    }
    assert!(double.ledger().entries.contains_key(&format!("ton:{hash}")));
    double.stop().await;
}

#[actix_web::test]
async fn a_dry_run_of_entries_finds_what_the_service_would_refuse() {
    let double = Double::start();
    let base =
        json!({"kind": "deposit", "event_id": "e", "user_id": 1, "currency": "TON", "amount": "1"});
    let with = |change: Value| {
        let mut item = base.clone();
        for (name, value) in change.as_object().expect("fields") {
            match value {
                Value::Null => drop(item.as_object_mut().expect("fields").remove(name)),
                value => item[name] = value.clone(),
            }
        }
        item
    };
    let hash = "ab".repeat(32);
    for (change, code) in [
        (json!({}), ""),
        (json!({"event_id": null, "tx_hash": hash}), ""),
        (
            json!({"kind": "adjustment", "amount": "-1", "reason": "r"}),
            "",
        ),
        (
            json!({"kind": "reversal", "reverses": "x", "amount": null, "currency": null}),
            "",
        ),
        (
            json!({"metadata": {"a": 1}, "occurred_at": "2025-08-04T10:05:00Z", "source": "x", "lt": "7"}),
            "",
        ),
        (json!({"kind": "gift"}), "invalid_field"),
        (json!({"kind": null}), "invalid_field"),
        (json!({"event_id": null}), "invalid_field"),
        (json!({"event_id": "ü"}), "invalid_field"),
        (json!({"user_id": "1"}), "invalid_field"),
        (json!({"user_id": null}), "invalid_field"),
        (json!({"currency": "XXX"}), "unknown_currency"),
        (json!({"currency": null}), "invalid_field"),
        (json!({"amount": null}), "invalid_field"),
        (json!({"amount": 1}), "invalid_amount"),
        (json!({"amount": "0"}), "invalid_amount"),
        (json!({"amount": "-1"}), "invalid_amount"),
        (json!({"amount": "1e3"}), "invalid_amount"),
        (json!({"amount": "99999999999"}), "amount_overflow"),
        (json!({"tx_hash": "x"}), "invalid_tx_hash"),
        (json!({"kind": "reward", "tx_hash": hash}), "unknown_field"),
        (json!({"reason": "r"}), "unknown_field"),
        (json!({"kind": "adjustment"}), "invalid_field"),
        (json!({"kind": "reversal"}), "invalid_field"),
        (json!({"note": "x"}), "unknown_field"),
        (json!({"source": "A"}), "invalid_field"),
        (json!({"occurred_at": "yesterday"}), "invalid_field"),
        (json!({"metadata": "x"}), "invalid_field"),
        (json!({"lt": "x"}), "invalid_field"),
        (json!({"account": "x"}), "invalid_field"),
    ] {
        let mut told = Told::default();
        let line = with(change.clone()).to_string();
        let done = import_entries(&double.options, input(line.as_bytes()), true, &mut told).await;
        let done = done.expect("nothing is sent");
        let found = told.refused.first().map_or("", |(_, code)| code.as_str());
        assert_eq!(found, code, "{change}");
        assert_eq!(done.accepted, u64::from(code.is_empty()), "{change}");
    }
    assert_eq!(double.ledger().batches, 0);
    double.stop().await;
}
