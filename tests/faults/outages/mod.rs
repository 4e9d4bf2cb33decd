//! Outages of the database, one file per kind. All follow one scenario: a load and quiet sessions
//! before, during and after; the allowed answers meanwhile; and the time until recovery.

mod black_hole;
mod commit_cut;
mod disk_full;
mod failover;
mod file_locked;
mod file_lost;
mod load;
mod row_locked;
mod standby_away;
mod stopped;

use std::time::{Duration, Instant};

use diesel::prelude::*;
use serde_json::{Value, json};

use crate::support::{Cluster, Proxy, TestApp, Ws, eventually, token};
use load::{Load, USERS};

/// `database.timeout_ms` of these tests.
const TIMEOUT: Duration = Duration::from_millis(2000);
/// Allowance for a busy machine, per answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(2500);
/// The guarantee: everything resumes within this time after the database's return.
const RECOVERY: Duration = Duration::from_secs(2);
/// Allowance for a busy machine.
const RECOVERY_MARGIN: Duration = Duration::from_secs(3);
const POOL_SIZE: usize = 4;
const WRITERS: i64 = 2;
/// Users with a session and no entries during the outage.
const QUIET: std::ops::RangeInclusive<u64> = 901..=904;
/// Acknowledged entries before an outage begins, and after it is over, at least.
const LOAD_MIN: usize = 60;

/// Whether a ledger that can't be written can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Away,
    GoOn,
}

/// A user with a session and no entries.
struct Quiet {
    user_id: u64,
    ws: Ws,
    /// The last balance received before the outage.
    last: Value,
}

struct Scene {
    app: TestApp,
    quiet: Vec<Quiet>,
    load: Load,
    outages: u32,
}

/// The service on the test's own server, directly or through a proxy.
async fn app_on(cluster: &Cluster, proxy: Option<&Proxy>) -> TestApp {
    let database = cluster.create_database();
    let direct = database.url();
    let url = proxy.map_or_else(|| direct.clone(), |proxy| proxy.url(&direct));
    let dir = tempfile::tempdir().expect("a directory");
    settings(TestApp::on(crate::support::Database::Postgres))
        .start_with(dir, database, &url)
        .await
}

fn settings(builder: crate::support::Builder) -> crate::support::Builder {
    builder
        .log("info")
        .set(
            "database.timeout_ms",
            i64::try_from(TIMEOUT.as_millis()).expect("short"),
        )
        .set("database.pool_size", i64::try_from(POOL_SIZE).expect("few"))
}

impl Scene {
    /// Starts the load and the quiet sessions.
    async fn open(app: TestApp) -> Self {
        let mut quiet = Vec::new();
        for user_id in QUIET {
            app.accepted("deposits", user_id, &format!("quiet:{user_id}"), "7")
                .await;
            let (mut ws, _) = app.session(user_id).await;
            let last = ws.refresh(json!("before")).await;
            quiet.push(Quiet { user_id, ws, last });
        }
        let load = Load::start(&app).await;
        let scene = Self {
            app,
            quiet,
            load,
            outages: 0,
        };
        scene.load_goes_on().await;
        scene
    }

    async fn load_goes_on(&self) {
        let before = self.load.told.count();
        eventually("the load goes on", async || {
            (self.load.told.count() >= before + LOAD_MIN).then_some(())
        })
        .await;
    }

    /// Checks the answers to senders, sessions, readers and operators while the ledger can't be
    /// written.
    async fn during(&mut self, reads: Reads) {
        self.outages += 1;
        let (app, outage) = (&self.app, self.outages);
        let entry = json!({"event_id": format!("during:{outage}"), "user_id": 990, "currency": "TON", "amount": "1"});
        let write = async {
            in_time("a write", app.post("deposits", entry))
                .await
                .problem(503, "ledger_unavailable")
        };
        let sessions = futures_util::future::join_all(
            self.quiet
                .iter_mut()
                .map(|quiet| quiet.refresh_during(reads)),
        );
        let read = async {
            let path = "/api/v1/balance?fresh=true";
            let (user, unknown) = (token(*QUIET.start()), token(980 + u64::from(outage)));
            let known = async { in_time("a read", app.browser(path, &user, &[])).await };
            let unknown = async { in_time("a read", app.browser(path, &unknown, &[])).await };
            tokio::join!(known, unknown)
        };
        let health = async {
            for addr in [app.public, app.internal] {
                assert_eq!(
                    in_time("/healthz", app.plain_get(addr, "/healthz"))
                        .await
                        .status,
                    200
                );
                let ready = in_time("/readyz", app.plain_get(addr, "/readyz")).await;
                assert_eq!(ready.status, 503, "{ready:?}");
            }
        };
        let (_, _, (known, unknown), ()) = tokio::join!(write, sessions, read, health);
        let known = known.ok();
        let expected = &self.quiet[0].last;
        assert_eq!(
            (&known["version"], &known["balances"]),
            (&expected["version"], &expected["balances"]),
            "{known}"
        );
        assert_eq!(known["stale"], reads == Reads::Away, "{known}");
        if reads == Reads::Away {
            assert_eq!(
                known["as_of"], expected["as_of"],
                "the age is told as it is"
            );
            unknown.problem(503, "ledger_unavailable");
        } else {
            assert_eq!(unknown.ok()["version"], 0);
        }
    }

    /// The database is back since `since`: checks that everything resumes within 2 s.
    async fn recovers(&mut self, what: &str, since: Instant, reads: Reads) {
        let app = &self.app;
        let recovered = async {
            for quiet in self.quiet.iter_mut().filter(|_| reads == Reads::Away) {
                let balance = quiet.ws.next_frame("balance").await;
                let told = (
                    &balance["reason"],
                    &balance["stale"],
                    &balance["version"],
                    &balance["balances"],
                );
                assert_eq!(
                    told,
                    (
                        &json!("recovered"),
                        &json!(false),
                        &quiet.last["version"],
                        &quiet.last["balances"]
                    )
                );
                quiet.last = balance;
            }
            since.elapsed()
        };
        let ready = async {
            eventually("ready", async || {
                (app.plain_get(app.public, "/readyz").await.status == 200).then_some(())
            })
            .await;
            since.elapsed()
        };
        let outage = self.outages;
        let written = async {
            // Users of both writers.
            for user_id in [990, 991] {
                let event_id = format!("after:{outage}:{user_id}");
                let entry = json!({"event_id": event_id, "user_id": user_id, "currency": "TON", "amount": "1"});
                let post = async || {
                    (app.post("deposits", entry.clone()).await.status == 200).then_some(())
                };
                eventually("a write is taken", post).await;
            }
            since.elapsed()
        };
        let (recovered, ready, written) = tokio::join!(recovered, ready, written);
        println!(
            "{what}: sessions recovered {recovered:?}, ready {ready:?}, written {written:?} after its return"
        );
        for (what, took) in [
            ("recovered", recovered),
            ("ready", ready),
            ("a write", written),
        ] {
            assert!(took < RECOVERY + RECOVERY_MARGIN, "{what} took {took:?}");
        }
        self.load_goes_on().await;
    }

    /// Ends the load and audits the ledger.
    async fn close(self, cluster: Option<&Cluster>) {
        let Self {
            app,
            mut quiet,
            load,
            ..
        } = self;
        let told = load.finish().await;
        let acknowledged = told.acknowledged.lock().expect("no panic holds it").clone();
        let mut stored = std::collections::BTreeMap::new();
        for user_id in 1..=USERS {
            let entries = all_entries(&app, user_id).await;
            let mut sum = 0;
            for entry in &entries {
                let event_id = entry["event_id"].as_str().expect("text").to_owned();
                let amount = minor(&entry["amount"]);
                sum += amount;
                let version = entry["version"].as_u64().expect("a version");
                assert_eq!(
                    stored.insert(event_id, (user_id, version, amount)),
                    None,
                    "twice: {entry}"
                );
            }
            let balance = app
                .backend(&format!("/internal/v1/users/{user_id}/balance?fresh=true"))
                .await
                .ok();
            assert_eq!(
                (&balance["version"], minor(&balance["balances"]["TON"])),
                (&json!(entries.len()), sum)
            );
        }
        assert!(
            stored == acknowledged,
            "each acknowledged entry is there once, with the version that was answered"
        );
        for quiet in &mut quiet {
            let balance = quiet.ws.refresh(json!("after")).await;
            assert_eq!(
                (&balance["stale"], &balance["balances"]),
                (&json!(false), &quiet.last["balances"])
            );
        }
        nothing_is_left_behind(&app).await;
        if let Some(cluster) = cluster {
            connections_are_ours(&app, cluster).await;
        }
        app.assert_ledger_holds();
    }
}

impl Quiet {
    async fn refresh_during(&mut self, reads: Reads) {
        let balance = in_time("a refresh", self.ws.refresh(json!("during"))).await;
        let last = &self.last;
        assert_eq!(
            (&balance["version"], &balance["balances"]),
            (&last["version"], &last["balances"]),
            "{balance}"
        );
        assert_eq!(balance["stale"], reads == Reads::Away, "{balance}");
        if reads == Reads::Away {
            assert_eq!(
                balance["as_of"], last["as_of"],
                "user {}: the age is told as it is",
                self.user_id
            );
        } else {
            self.last = balance;
        }
    }
}

/// An answer within `database.timeout_ms`.
async fn in_time<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let answer = answer.await;
    assert!(
        start.elapsed() < TIMEOUT + ANSWER_MARGIN,
        "{what} took {:?}",
        start.elapsed()
    );
    answer
}

async fn all_entries(app: &TestApp, user_id: u64) -> Vec<Value> {
    let (mut all, mut before) = (Vec::new(), i64::MAX);
    // Bounded: each page has at least one entry.
    loop {
        let path =
            format!("/internal/v1/users/{user_id}/entries?limit=1000&before_version={before}");
        let page = app.backend(&path).await.ok()["entries"]
            .as_array()
            .expect("a list")
            .clone();
        let Some(last) = page.last() else { return all };
        before = last["version"].as_i64().expect("a version");
        all.extend(page);
    }
}

/// Nine decimals, not negative.
fn minor(amount: &Value) -> u64 {
    amount
        .as_str()
        .expect("text")
        .replace('.', "")
        .parse()
        .expect("digits")
}

/// Checks that no actor waits, nothing is queued, and as many concurrent reads as connections are
/// answered.
async fn nothing_is_left_behind(app: &TestApp) {
    for user_id in (1..=USERS).chain(QUIET) {
        eventually("nothing is under way in an actor", async || {
            let actor = app.admin(&format!("/admin/v1/actors/{user_id}")).await.ok();
            (actor["in_flight"] == 0
                && actor["counters"]["is_stale"] == false
                && actor["mailbox"]["queued"] == 0)
                .then_some(())
        })
        .await;
    }
    eventually("nothing is queued", async || {
        let registry = app.admin("/admin/v1/registry").await.ok();
        assert_eq!(registry["actors_rebuilt"], 0, "{registry}");
        (registry["queue_single"] == 0 && registry["queue_bulk"] == 0).then_some(())
    })
    .await;
    for round in 0..3 {
        let reads = (0..POOL_SIZE as u64).map(|n| async move {
            let path = format!("/internal/v1/users/{}/balance?fresh=true", 1 + n);
            app.backend(&path).await.ok()
        });
        for balance in futures_util::future::join_all(reads).await {
            assert_eq!(balance["stale"], false, "round {round}: {balance}");
        }
    }
}

/// The number of the service's connections on the server.
fn connections_of(app: &TestApp) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let mut connection = PgConnection::establish(&app.database.url()).expect("the server answers");
    let query =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'balance-coordinator'";
    let row: Row = diesel::sql_query(query)
        .get_result(&mut connection)
        .expect("it answers");
    row.count
}

/// Checks that the service's only connections are those of the writers, the pool, the audit and the health check.
async fn connections_are_ours(app: &TestApp, cluster: &Cluster) {
    let bound = WRITERS + i64::try_from(POOL_SIZE).expect("few") + 2;
    let what = format!("no connection leaks on {}", cluster.addr());
    eventually(&what, async || (connections_of(app) <= bound).then_some(())).await;
}
