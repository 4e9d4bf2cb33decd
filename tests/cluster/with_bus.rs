//! Processes with a bus: what one commits is on all sessions at once, and every fault of the bus is made up for.

use serde_json::{Value, json};

use crate::support::{
    Builder, Database, Nats, Signed, TestApp, TestDatabase, Ws, eventually, on_postgres,
    run_program,
};

on_postgres![
    a_commit_is_heard_by_all_processes_and_nothing_has_to_be_looked_for,
    a_rolling_restart_under_load_loses_doubles_and_hides_nothing,
    a_new_epoch_starts_every_process_over,
    a_wrong_password_ends_the_start_and_a_bus_that_is_away_does_not,
];

pub const NODES: [&str; 3] = ["a", "b", "c"];

/// Three processes on one database and one bus.
pub struct Cluster {
    pub apps: Vec<TestApp>,
    pub nats: Nats,
}

pub fn settings(app: Builder, node: &str, bus: &str) -> Builder {
    app.set("cluster.node", node).set("cluster.url", bus)
}

/// A process on a database that another one owns.
pub async fn start_on(app: Builder, url: &str) -> TestApp {
    let dir = tempfile::tempdir().expect("a directory");
    let none = TestDatabase::Sqlite(dir.path().join("none.db"));
    app.start_with(dir, none, url).await
}

async fn cluster(app: &TestApp) -> Value {
    app.admin("/admin/v1/cluster").await.ok()
}

pub async fn are_covered(apps: &[TestApp]) {
    for app in apps {
        let what = "a process knows of all others and hears them";
        eventually(what, async || {
            let shown = cluster(app).await;
            let others = shown["nodes"].as_array().map_or(0, Vec::len);
            (shown["covered"] == true && others >= apps.len() - 1).then_some(())
        })
        .await;
    }
}

impl Cluster {
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, |app| app).await
    }

    /// With more settings.
    pub async fn start_with(database: Database, more: impl Fn(Builder) -> Builder) -> Self {
        let nats = Nats::start();
        let app = |node| more(settings(TestApp::on(database), node, nats.url()));
        let mut apps = vec![app(NODES[0]).start().await];
        for node in &NODES[1..] {
            let beside = start_on(app(node), &apps[0].database.url()).await;
            apps.push(beside);
        }
        are_covered(&apps).await;
        Self { apps, nats }
    }
}

fn balance(user_id: u64) -> String {
    format!("/internal/v1/users/{user_id}/balance")
}

async fn metric(app: &TestApp, name: &str) -> f64 {
    app.metrics().await.value(name)
}

/// The next push, which has to be of this version and mode.
async fn pushed(ws: &mut Ws, version: i64, mode: &str) {
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["mode"]),
        (&json!(version), &json!(mode)),
        "{update}"
    );
}

async fn a_commit_is_heard_by_all_processes_and_nothing_has_to_be_looked_for(database: Database) {
    let Cluster { apps, nats: _nats } = Cluster::start(database).await;
    let mut sessions = Vec::new();
    for app in &apps {
        sessions.push(app.session(1).await.0);
    }
    for n in 1..=30_i64 {
        let app = &apps[n as usize % apps.len()];
        app.accepted("deposits", 1, &format!("d{n}"), "1").await;
        for ws in &mut sessions {
            pushed(ws, n, "direct").await;
        }
        // No process answers with less than another has shown.
        for app in &apps {
            assert_eq!(app.backend(&balance(1)).await.ok()["version"], n);
        }
    }
    apps[0].accepted("rewards", 1, "r", "1").await;
    for ws in &mut sessions {
        pushed(ws, 31, "paced").await;
    }
    for app in &apps {
        assert_eq!(metric(app, "balance_cluster_healed_total").await, 0.0);
        assert!(metric(app, "balance_cluster_commit_to_heard_seconds_count").await > 0.0);
        assert_eq!(cluster(app).await["covered"], true);
    }
    apps[0].assert_ledger_holds();
}

/// Commits a deposit of 1 TON with SQL alone, on top of a version.
pub fn by_hand(app: &TestApp, user_id: u64, version: i64) {
    let next = version + 1;
    app.database.sql(&format!(
        "BEGIN; \
         UPDATE accounts SET version = {next} WHERE user_id = {user_id}; \
         UPDATE balances SET amount = amount + 1000000000 WHERE user_id = {user_id} AND currency = 'TON'; \
         INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         SELECT {user_id}, {next}, 'deposit', 'by_hand', 'TON', 1000000000, amount, 'by-hand', 1 FROM balances \
         WHERE user_id = {user_id} AND currency = 'TON'; \
         COMMIT",
    ));
}

async fn a_rolling_restart_under_load_loses_doubles_and_hides_nothing(database: Database) {
    const USERS: u64 = 20;
    let Cluster {
        mut apps,
        nats: _nats,
    } = Cluster::start(database).await;
    let senders: Vec<_> = apps.iter().map(TestApp::sender).collect();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut accepted = vec![0_i64; USERS as usize];
            let mut n = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                let user_id = n % USERS;
                let body = json!({"event_id": format!("e{n}"), "user_id": user_id + 1, "currency": "TON", "amount": "1"});
                // Each attempt goes to another process, as through a load balancer.
                for attempt in 0.. {
                    let sender = &senders[(n as usize + attempt) % senders.len()];
                    let request = Signed::post("/internal/v1/deposits", &body);
                    match sender.try_send(request).await {
                        Ok(answer) if answer.status == 200 => break,
                        _ => assert!(attempt < 2000, "no process takes it"),
                    }
                }
                accepted[user_id as usize] += 1;
            }
            accepted
        }
    });
    for index in 0..apps.len() {
        assert!(apps[index].stop().await.success());
        apps[index].start_again().await;
        are_covered(&apps).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let accepted = load.await.expect("no panic");
    for (user, count) in accepted.iter().enumerate() {
        let user_id = user as u64 + 1;
        for app in &apps {
            let read = app.backend(&balance(user_id)).await.ok();
            assert_eq!(read["version"], *count, "{read}");
        }
    }
    apps[0].assert_ledger_holds();
}

async fn a_new_epoch_starts_every_process_over(database: Database) {
    let Cluster {
        mut apps,
        nats: _nats,
    } = Cluster::start(database).await;
    let (mut ws, _) = apps[1].session(1).await;
    let arguments = ["migrate", "--new-epoch", "--config", "config.toml"];
    let output = run_program(apps[0].directory(), &arguments, &[], b"");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ws.closed().await.0, 1001);
    for app in &mut apps {
        assert_eq!(app.wait().await.code(), Some(1), "{}", app.log());
        assert!(app.log().contains("another epoch"), "{}", app.log());
        app.start_again().await;
    }
    are_covered(&apps).await;
}

async fn a_wrong_password_ends_the_start_and_a_bus_that_is_away_does_not(database: Database) {
    let nats = crate::permissions::deployed();
    let (dir, _database) = settings(TestApp::on(database), "a", nats.url())
        .set("cluster.user", "balance")
        .set("cluster.password", "wrong-wrong-wrong")
        .prepare();
    let output = run_program(dir.path(), &["serve", "--config", "config.toml"], &[], b"");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cluster.password"), "{text}");
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let away = format!("nats://{}", silent.local_addr().expect("bound"));
    let app = settings(TestApp::on(database), "a", &away).start().await;
    app.accepted("deposits", 1, "d1", "1").await;
    let shown = cluster(&app).await;
    assert_eq!(
        (&shown["covered"], &shown["connected"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(app.backend(&balance(1)).await.ok()["version"], 1);
}
