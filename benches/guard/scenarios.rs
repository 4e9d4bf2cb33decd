//! The scenarios to count. A scenario repeats one operation; its set-up does not depend on the
//! number of repetitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use balance_coordinator::clock::Clock;
use balance_coordinator::config::{DatabaseUrl, Schema, WebhookSecret};
use balance_coordinator::coordinator::BalanceActor;
use balance_coordinator::credentials::webhook::{Signed, sign};
use balance_coordinator::domain::{Currencies, Kind, Rules};
use balance_coordinator::http::parse_body;
use balance_coordinator::ledger::batch::{Group, Keys, Loaded, plan};
use balance_coordinator::ledger::{
    Admission, Lane, Ledger as _, Options, Posting, Progress, SqlLedger,
};
use balance_coordinator::telemetry::counters::Counters;
use tokio::sync::oneshot;

use super::rig::{self, Rig};
use super::{Result, allocations};

const BODY: &str = r#"{"event_id":"farm:184:2025-08-04T10:05Z","user_id":184,"currency":"UNI","amount":"12.5","source":"farming"}"#;
const RULES: Rules = Rules { auto_create: true };
/// Entries of a transaction.
const BATCH: usize = 1000;
/// Users whose actors or sessions are created to measure their memory.
const WEIGHED: i64 = 2000;

/// One scenario.
pub struct Scenario {
    pub name: &'static str,
    /// Repetitions in the short and in the long run.
    counts: [u64; 2],
    /// Runs it the given number of times.
    pub run: fn(u64),
}

impl Scenario {
    /// The difference between the long and the short run, per repetition.
    pub fn each(&self, measure: impl Fn(u64) -> Result<u64>) -> Result<f64> {
        let [short, long] = self.counts;
        let (short_total, long_total) = (measure(short)?, measure(long)?);
        Ok((long_total as f64 - short_total as f64) / (long - short) as f64)
    }
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "doors",
        counts: [200, 1200],
        run: doors,
    },
    Scenario {
        name: "plan",
        counts: [1000, 5000],
        run: plan_entries,
    },
    Scenario {
        name: "entry",
        counts: [500, 2500],
        run: entry,
    },
    Scenario {
        name: "push",
        counts: [500, 2500],
        run: push,
    },
    Scenario {
        name: "sqlite",
        counts: [2000, 6000],
        run: sqlite,
    },
];

/// A webhook's signature and body.
fn doors(count: u64) {
    let (currencies, key) = (
        Currencies::default(),
        "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
    );
    let secrets = [WebhookSecret::parse(key).expect("a secret")];
    let signature = sign(secrets[0].as_bytes(), "id", "1000", BODY.as_bytes());
    let signed = Signed {
        id: "id",
        timestamp: "1000",
        signature: &signature,
    };
    for _ in 0..count {
        signed
            .verify(&secrets, BODY.as_bytes(), 1000, 300)
            .expect("well signed");
        std::hint::black_box(
            parse_body(BODY.as_bytes(), Kind::Reward, &currencies).expect("a good body"),
        );
    }
}

/// An entry of a transaction, decided.
fn plan_entries(count: u64) {
    let (entries, accounts) = rig::batch(BATCH);
    for _ in 0..count / BATCH as u64 {
        let groups = [Group {
            entries: &entries,
            is_atomic: false,
        }];
        let keys = std::hint::black_box(Keys::of(&groups));
        let loaded = Loaded {
            accounts: accounts.clone(),
            ..Loaded::default()
        };
        std::hint::black_box(plan(&groups, &keys, loaded, RULES, 1));
    }
}

/// An entry through the registry, its user's actor and an inline ledger, and its answer.
fn entry(count: u64) {
    rig::on_system(async {
        let mut rig = Rig::start();
        for _ in 0..count {
            rig.post(1).await;
        }
    });
}

/// The same with a session, to the bytes of its frame.
fn push(count: u64) {
    rig::on_system(async {
        let mut rig = Rig::start();
        let mut session = rig.open(1).await;
        for _ in 0..count {
            rig.post(1).await;
            std::hint::black_box(session.next().await);
        }
    });
}

/// An entry of a transaction in SQLite, to the commit.
fn sqlite(count: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", dir.path().join("ledger.db").display());
    let options = Options {
        url: DatabaseUrl::parse(&url).expect("a URL"),
        schema: Schema::default(),
        pool_size: 1,
        writers: 1,
        migrate_on_start: true,
        timeout_ms: 60_000,
        lock_timeout_ms: 1000,
        conflicts_max: 1000,
        currencies: Currencies::default(),
        rules: RULES,
        clock: Clock::system(),
        counters: Arc::new(Counters::default()),
        feed: None,
    };
    let progress = Progress::start(Clock::system());
    let (ledger, _unheard) = SqlLedger::open(options, &progress).expect("a new ledger");
    let admission = Admission::new(BATCH);
    for batch in 0..count / BATCH as u64 {
        let users = 1..=i64::try_from(BATCH).expect("a small number");
        // Each posting is one transaction; event ids are in random order.
        let entries = users
            .map(|user| rig::entry(user, &event(batch, user), Kind::Reward, 1))
            .collect();
        let permit = admission.try_acquire(Lane::Bulk, BATCH).expect("room");
        let deadline = Clock::system().deadline(Duration::from_secs(600));
        let (reply, answer) = oneshot::channel();
        ledger.post(Posting {
            entries,
            is_atomic: true,
            lane: Lane::Bulk,
            deadline,
            permit,
            reply,
        });
        let posted = answer.blocking_recv().expect("answered");
        assert!(
            !posted.outcomes.iter().any(|outcome| outcome.is_rejected()),
            "all are accepted"
        );
    }
    ledger.stop();
}

/// 32 digits that look random and are always the same.
fn event(batch: u64, user: i64) -> String {
    let mix = |seed: u64| {
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let first = mix(batch
        .wrapping_mul(1_000_003)
        .wrapping_add(user.unsigned_abs()));
    format!("{first:016x}{:016x}", mix(first))
}

/// Bytes that stay allocated for one of each.
pub fn bytes() -> BTreeMap<String, f64> {
    let actor = rig::on_system(async {
        let rig = Rig::start();
        rig.ask(WEIGHED + 1).await;
        let before = allocations::live_bytes();
        for user in 1..=WEIGHED {
            rig.ask(user).await;
        }
        (allocations::live_bytes() - before) as f64 / WEIGHED as f64
    });
    let session = rig::on_system(async {
        let rig = Rig::start();
        let _first = rig.open(WEIGHED + 1).await;
        let mut sessions = Vec::with_capacity(usize::try_from(WEIGHED).expect("a small number"));
        let before = allocations::live_bytes();
        for user in 1..=WEIGHED {
            sessions.push(rig.open(user).await);
        }
        (allocations::live_bytes() - before) as f64 / WEIGHED as f64
    });
    [
        ("actor itself".to_owned(), size_of::<BalanceActor>() as f64),
        ("resident actor".to_owned(), actor),
        ("session and its actor".to_owned(), session),
    ]
    .into()
}
