//! Every row of the table of faults (`docs/scaling.md`), on three processes with PostgreSQL and NATS.
//!
//! Each test measures how long the row's sessions waited and prints it: `row=… bound=… measured=…`. The bound is the
//! design's, for an otherwise idle machine. A test fails only when [`SLACK`] times of it have passed, so that a busy machine
//! breaks none; what is shown has to be right whatever the time.

mod bus;
mod clocks;
mod ledger;
mod lossy;
mod moves;
mod nodes;
mod split;
mod unheard;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Builder, Database, PATIENCE, TestApp, Ws, eventually};
use crate::with_bus::{NODES, are_covered, start_on};

/// What a busy machine may add, as a factor of the bound.
const SLACK: u32 = 10;

/// 1 s and a round of few users: it takes no time, and begins within 50 ms.
const A_SECOND_AND_A_ROUND: Duration = Duration::from_millis(1050);

/// The user whose balance is watched.
pub const USER: u64 = 184;

/// The longest that a fault delayed something.
pub struct Row {
    name: &'static str,
    bound: Duration,
    took: Vec<Duration>,
}

impl Row {
    pub fn new(name: &'static str, bound: Duration) -> Self {
        Self {
            name,
            bound,
            took: Vec::new(),
        }
    }

    pub fn took(&mut self, time: Duration) {
        self.took.push(time);
    }

    /// Prints what was measured.
    ///
    /// # Panics
    /// When it took much longer than the bound.
    pub fn end(mut self) {
        self.took.sort_unstable();
        let longest = *self.took.last().expect("something was measured");
        let median = self.took[self.took.len() / 2];
        println!(
            "row={} bound={}ms measured={}ms median={}ms of={}",
            self.name,
            self.bound.as_millis(),
            longest.as_millis(),
            median.as_millis(),
            self.took.len()
        );
        let limit = (self.bound * SLACK).max(PATIENCE);
        assert!(longest <= limit, "{}: {longest:?}", self.name);
    }
}

/// Three processes, each with a session of [`USER`], who has been given 1 TON with each version.
pub struct Three {
    pub apps: Vec<TestApp>,
    pub sessions: Vec<Ws>,
    pub version: i64,
}

impl Three {
    /// With the settings of each, by its name.
    pub async fn start(database: Database, of: impl Fn(&str, Builder) -> Builder) -> Self {
        let app = |node| of(node, quick(TestApp::on(database).set("cluster.node", node)));
        let first = app(NODES[0]).start().await;
        let url = first.database.url();
        let mut apps = vec![first];
        for node in &NODES[1..] {
            apps.push(start_on(app(node), &url).await);
        }
        Self::of(apps).await
    }

    /// Of processes that run.
    pub async fn of(apps: Vec<TestApp>) -> Self {
        are_covered(&apps).await;
        let mut sessions = Vec::new();
        for app in &apps {
            sessions.push(app.session(USER).await.0);
        }
        Self {
            apps,
            sessions,
            version: 0,
        }
    }

    /// Commits at one process what no session is waited for.
    pub async fn commit(&mut self, at: usize, what: &str) {
        self.version += 1;
        let event_id = format!("e{}", self.version);
        self.apps[at].accepted(what, USER, &event_id, "1").await;
    }

    /// Commits at one process, and sees it on all sessions; tells how long each took after the answer.
    pub async fn see(&mut self, at: usize, what: &str) -> Vec<Duration> {
        self.commit(at, what).await;
        let answered = Instant::now();
        let mut took = Vec::new();
        for ws in &mut self.sessions {
            shown(ws, self.version, what).await;
            took.push(answered.elapsed());
        }
        took
    }

    /// A deposit and a reward at each process are seen on all sessions as what they are.
    pub async fn see_all(&mut self, row: &mut Row) {
        for at in 0..self.apps.len() {
            for what in ["deposits", "rewards"] {
                self.see(at, what)
                    .await
                    .into_iter()
                    .for_each(|took| row.took(took));
            }
        }
    }

    /// All processes answer with the newest version, and can serve.
    pub async fn assert_reads(&self) {
        for app in &self.apps {
            let read = app.backend(&balance(USER)).await.ok();
            assert_eq!(
                (&read["version"], &read["balances"]["TON"], &read["stale"]),
                (
                    &json!(self.version),
                    &json!(ton(self.version)),
                    &json!(false)
                ),
                "{read}"
            );
            assert_eq!(app.plain_get(app.public, "/readyz").await.status, 200);
        }
    }

    /// Waits until no process is covered.
    pub async fn are_uncovered(&self) {
        for app in &self.apps {
            eventually("it knows that it does not hear all", async || {
                (metric(app, "balance_cluster_covered").await == 0.0).then_some(())
            })
            .await;
        }
    }

    /// All processes hear each other again, and what they commit is seen.
    pub async fn are_well(&mut self) {
        are_covered(&self.apps).await;
        for at in 0..self.apps.len() {
            self.see(at, "deposits").await;
        }
        self.assert_reads().await;
    }
}

/// Paced changes are pushed soon, and apart from each other.
pub fn quick(app: Builder) -> Builder {
    app.set("pacing.debounce_ms", 5)
        .set("pacing.min_interval_ms", 10)
        .set("pacing.direct_interval_ms", 1)
}

/// The next frame shows this version, of an entry of this kind alone.
async fn shown(ws: &mut Ws, version: i64, what: &str) {
    let update = ws.next_frame("balance_update").await;
    let mode = if what == "deposits" {
        "direct"
    } else {
        "paced"
    };
    let fields = ["version", "mode", "entries"].map(|field| update[field].clone());
    assert_eq!(fields, [json!(version), json!(mode), json!(1)], "{update}");
    assert_eq!(update["balances"]["TON"], ton(version), "{update}");
}

/// So many TON, as answers have it.
pub fn ton(count: i64) -> String {
    format!("{count}.000000000")
}

pub fn balance(user_id: u64) -> String {
    format!("/internal/v1/users/{user_id}/balance")
}

async fn metric(app: &TestApp, name: &str) -> f64 {
    app.metrics().await.value(name)
}

/// Reads a session until it shows this version; it never shows an older one than it has, nor a wrong balance.
async fn until_shown(ws: &mut Ws, mut seen: i64, version: i64) {
    while seen < version {
        let frame = match ws.next().await {
            crate::support::Event::Frame(frame) => frame,
            other => panic!("{other:?}"),
        };
        let next = frame["version"].as_i64().expect("a version");
        assert!(next >= seen, "{seen}, then {frame}");
        assert_eq!(frame["balances"]["TON"], ton(next), "{frame}");
        seen = next;
    }
    assert_eq!(seen, version);
}

fn version_in(frame: &Value) -> i64 {
    frame["version"].as_i64().expect("a version")
}
