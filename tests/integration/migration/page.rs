//! `docs/migration.md`, taken at its word: a small old application on PostgreSQL is moved by the commands of the page, with
//! traffic all the while.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use serde_json::json;

use super::{OLD_TABLES, balance, blocks};
use crate::support::{Database, TestApp, TestDatabase, TonHash, eventually, on_postgres};

on_postgres![an_old_application_is_moved_by_the_commands_of_the_page];

/// The users of each worker: one worker writes to a user, so that it knows what the balance should be.
const USERS: [[i64; 3]; 2] = [[1, 2, 3], [4, 5, 6]];

/// How a caller works now; the step of the page in which it does.
const OLD_ALONE: usize = 2;
const OLD_DECIDES: usize = 3;
const SERVICE_DECIDES: usize = 6;
const SERVICE_ALONE: usize = 7;

/// The shell commands of a section of the page.
fn commands(section: &str) -> Vec<String> {
    blocks(section, "sh")
}

/// The move: the old database, the service, and where the commands run.
struct Move {
    app: Arc<TestApp>,
    old: TestDatabase,
}

impl Move {
    /// Runs one block as it stands on the page; answers what it printed.
    fn run(&self, block: &str) -> String {
        let dir = self.app.dir.path();
        let path = format!(
            "{}:{}",
            dir.join("bin").display(),
            std::env::var("PATH").expect("a path")
        );
        let mut shell = Command::new("sh");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BALANCE_")) {
            shell.env_remove(name);
        }
        let output = shell
            .args(["-ec", block])
            .current_dir(dir)
            .env("PATH", path)
            .env("OLD", self.old.url())
            .env("BALANCE_SERVER__PUBLIC_ADDR", self.app.public.to_string())
            .env(
                "BALANCE_SERVER__INTERNAL_ADDR",
                self.app.internal.to_string(),
            )
            .output()
            .expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{printed}{error}");
        printed
    }

    /// What the nightly comparison prints.
    fn differences(&self) -> Vec<String> {
        let printed = self.run(&commands("4. Align and compare")[1]);
        let lines = printed
            .lines()
            .filter(|line| line.contains(" TON ") || line.contains(" UNI "));
        let differing = lines.filter(|line| !line.starts_with("total "));
        differing.map(str::to_owned).collect()
    }
}

/// The traffic of the old application: farming ticks, withdrawals, deposits.
struct Traffic {
    app: Arc<TestApp>,
    old: String,
    runtime: tokio::runtime::Handle,
    /// For each caller: farming, withdrawals, deposits.
    steps: [AtomicUsize; 3],
    is_over: AtomicBool,
    /// What each balance should be, in units of 10⁻⁹.
    expected: Mutex<BTreeMap<(i64, &'static str), i64>>,
    done: AtomicUsize,
}

impl Traffic {
    /// One worker's changes, one after the other, until it is over.
    fn work(&self, worker: usize) {
        let mut old = PgConnection::establish(&self.old).expect("the old database");
        for number in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let user_id = USERS[worker][number % 3];
            let caller = number / 3 % 3;
            let id = format!("{worker}-{number}");
            self.change(&mut old, caller, user_id, &id);
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn change(&self, old: &mut PgConnection, caller: usize, user_id: i64, id: &str) {
        let (what, kind, currency, sign) = [
            ("rewards", "farming_reward", "UNI", 1),
            ("withdrawals", "withdrawal", "TON", -1),
            ("deposits", "deposit", "TON", 1),
        ][caller];
        let amount = "0.000000003";
        let hash = TonHash::of(id).hex();
        let (event_id, hash_sql) = match caller {
            0 => (format!("farm:{user_id}:{id}"), "NULL".to_owned()),
            1 => (format!("withdrawal:{id}"), "NULL".to_owned()),
            _ => (format!("ton:{hash}"), format!("'{hash}'")),
        };
        let mut body = json!({"event_id": event_id, "user_id": user_id, "currency": currency, "amount": amount});
        if caller == 2 {
            body["tx_hash"] = json!(hash);
        }
        let lock = format!("BEGIN; SELECT 1 FROM users WHERE id = {user_id} FOR UPDATE");
        let column = format!("balance_{}", currency.to_lowercase());
        let write = format!(
            "UPDATE users SET {column} = {column} + {sign} * {amount} WHERE id = {user_id}; \
             INSERT INTO transactions (user_id, type, currency, amount, hash, event_id) \
             VALUES ({user_id}, '{kind}', '{currency}', {amount}, {hash_sql}, '{event_id}')"
        );
        let step = || self.steps[caller].load(Ordering::SeqCst);
        let is_in_old = step() < SERVICE_ALONE;
        if is_in_old {
            old.batch_execute(&lock).expect("locked");
        }
        // It may have waited for the lock since.
        let step = step();
        if step == OLD_ALONE || step == OLD_DECIDES {
            old.batch_execute(&write).expect("written");
        }
        if step != OLD_ALONE {
            let answer = self.runtime.block_on(self.app.post(what, body));
            // Before the balances are aligned, a withdrawal may be refused.
            assert!(answer.status == 200 || step == OLD_DECIDES, "{answer:?}");
        }
        if step == SERVICE_DECIDES {
            old.batch_execute(&write).expect("written");
        }
        if is_in_old {
            old.batch_execute("COMMIT").expect("committed");
        }
        let mut expected = self.expected.lock().expect("no panic");
        *expected.get_mut(&(user_id, currency)).expect("a user") += 3 * sign;
    }
}

async fn an_old_application_is_moved_by_the_commands_of_the_page(database: Database) {
    let app = Arc::new(TestApp::start(database).await);
    let old = Database::Postgres.create(app.dir.path());
    old.sql(OLD_TABLES);
    let known = TonHash::of("known").five_spellings();
    let mut expected = BTreeMap::new();
    for user_id in USERS.into_iter().flatten() {
        old.sql(&format!(
            "INSERT INTO users VALUES ({user_id}, 7.5, 1000.000000001)"
        ));
        expected.insert((user_id, "TON"), 7_500_000_000);
        expected.insert((user_id, "UNI"), 1_000_000_000_001);
    }
    // The old code credited it twice, in two spellings.
    for spelling in &known[..2] {
        old.sql(&format!(
            "INSERT INTO transactions (user_id, type, currency, amount, hash) VALUES (1, 'deposit', 'TON', 2.5, '{spelling}')"
        ));
    }
    std::fs::create_dir(app.dir.path().join("bin")).expect("made");
    let program = app.dir.path().join("bin/balance-coordinator");
    symlink(env!("CARGO_BIN_EXE_balance-coordinator"), program).expect("linked");
    let traffic = Arc::new(Traffic {
        app: app.clone(),
        old: old.url(),
        runtime: tokio::runtime::Handle::current(),
        steps: [OLD_ALONE, OLD_ALONE, OLD_ALONE].map(AtomicUsize::new),
        is_over: AtomicBool::new(false),
        expected: Mutex::new(expected),
        done: AtomicUsize::new(0),
    });
    let moving = Move { app, old };
    let workers = [0, 1].map(|worker| {
        let traffic = traffic.clone();
        std::thread::spawn(move || traffic.work(worker))
    });
    let some_traffic = async || {
        let least = traffic.done.load(Ordering::SeqCst) + 40;
        let is_done = || traffic.done.load(Ordering::SeqCst) >= least;
        eventually("traffic", async || is_done().then_some(())).await;
    };

    some_traffic().await;
    moving.run(&commands("1. Measure")[0]);
    let printed = moving.run(&commands("2. Known deposits")[0]);
    assert!(
        printed.contains("duplicates: 1") && printed.contains("rejected: 0"),
        "{printed}"
    );
    for caller in &traffic.steps {
        caller.store(OLD_DECIDES, Ordering::SeqCst);
    }
    some_traffic().await;
    let printed = moving.run(&commands("4. Align and compare")[0]);
    assert!(printed.contains("rejected: 0"), "{printed}");
    some_traffic().await;
    assert_eq!(moving.differences(), [] as [String; 0]);
    // Caller by caller the service decides; and one goes back once.
    for (caller, step) in [
        (0, SERVICE_DECIDES),
        (1, SERVICE_DECIDES),
        (0, OLD_DECIDES),
        (0, SERVICE_DECIDES),
        (2, SERVICE_DECIDES),
    ] {
        traffic.steps[caller].store(step, Ordering::SeqCst);
        some_traffic().await;
        assert_eq!(moving.differences(), [] as [String; 0]);
    }
    for caller in &traffic.steps {
        caller.store(SERVICE_ALONE, Ordering::SeqCst);
    }
    some_traffic().await;
    traffic.is_over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.join().expect("no change has failed");
    }

    let expected = traffic.expected.lock().expect("no panic").clone();
    for ((user_id, currency), units) in expected {
        let user = u64::try_from(user_id).expect("positive");
        let shown = format!("{}.{:09}", units / 1_000_000_000, units % 1_000_000_000);
        assert_eq!(
            balance(&moving.app, user, currency).await,
            shown,
            "{user_id} {currency}"
        );
    }
    let again = json!({"tx_hash": known[3], "user_id": 1, "currency": "TON", "amount": "2.5"});
    assert_eq!(
        moving.app.post("deposits", again).await.ok()["duplicate"],
        true
    );
    moving.run(&commands("7. Stop the old path")[0]);
}
