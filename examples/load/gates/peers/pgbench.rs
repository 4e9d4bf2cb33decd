//! A plain transaction on PostgreSQL: what a back end does that keeps balances itself, by one prepared statement, which is the
//! cheapest way. `pgbench` sends it from 32 connections. It checks no signature, decides nothing, and tells nobody.

use std::process::Command;

use crate::Result;
use crate::bench::Bench;
use crate::client::entries::{Books, Users};
use crate::client::http::Pace;
use crate::measure::median;
use crate::report::Figure;
use crate::system::database::{self, Database};
use crate::system::proc;

use super::RUN;

const USERS: usize = 10_000;
const IN_FLIGHT: usize = 256;
const CONNECTIONS: &str = "32";

const TABLES: &str = "CREATE TABLE usual_entries (event_id UUID PRIMARY KEY, user_id BIGINT NOT NULL, amount BIGINT NOT NULL,
         at TIMESTAMPTZ NOT NULL DEFAULT now());
     CREATE TABLE usual_balances (user_id BIGINT PRIMARY KEY, amount BIGINT NOT NULL CHECK (amount >= 0))";

const TRANSACTION: &str = "\\set user random(1, 10000)
WITH entry AS (INSERT INTO usual_entries (event_id, user_id, amount) VALUES (gen_random_uuid(), :user, 1000)) \
INSERT INTO usual_balances VALUES (:user, 1000) \
ON CONFLICT (user_id) DO UPDATE SET amount = usual_balances.amount + 1000 RETURNING amount;
";

pub fn run(bench: &mut Bench, server: &str) -> Result<()> {
    let seconds = bench.size(bench.options.seconds, 10, 2);
    let entries = bench.size(bench.options.entries, 60_000, 2_000);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let bar = bench.bar("peers pgbench", 2 * rounds);
    let usual = Database::postgres(server)?;
    usual.execute(TABLES)?;
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("transaction.sql");
    std::fs::write(&script, TRANSACTION)?;
    let database = Database::postgres(server)?;
    let mut service = bench.launch("peers-postgres", &[]).start(&database)?;
    let postgres = database::postgres_pid(server)?;
    let (mut workload, mut books) = (bench.workload(19, Users::Random(USERS)), Books::default());
    let [mut ours, mut theirs, mut our_cost, mut their_cost] = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        let before = proc::family_cpu_s(postgres)?;
        let program = Command::new("pgbench")
            .args(["--no-vacuum", "--protocol", "prepared", "--jobs", "1"])
            .args(["--client", CONNECTIONS, "--time", &seconds.to_string()])
            .arg("--file")
            .arg(&script)
            .arg(usual.url())
            .output()?;
        let told = String::from_utf8_lossy(&program.stdout);
        let number = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let (rate, count) = number("tps = ")
            .zip(number("number of transactions actually processed: "))
            .ok_or_else(|| format!("pgbench: {}", String::from_utf8_lossy(&program.stderr)))?;
        let cost_s = proc::family_cpu_s(postgres)? - before;
        theirs.push(rate);
        their_cost.push(cost_s / count * 1e6);
        bar.inc(1);

        let part = workload.entries(entries);
        let before = proc::family_cpu_s(postgres)?;
        let way = (IN_FLIGHT, Pace::AsAnswered);
        let outcome = bench.post_singles(service.internal, &part, way, &mut |_| {})?;
        books.note(&part);
        ours.push(outcome.rate());
        our_cost.push((proc::family_cpu_s(postgres)? - before) / part.len() as f64 * 1e6);
        bar.inc(1);
    }
    bench.check_books(&service, &books)?;
    bench.finish(&mut service)?;
    bar.finish();
    let figures = [
        ("durable webhooks/s on PostgreSQL", ours, theirs, "/s"),
        (
            "PostgreSQL's processor for each",
            our_cost,
            their_cost,
            "µs",
        ),
    ];
    let figures = figures.map(|(what, ours, theirs, unit)| {
        Figure::new(RUN, what, median(&ours), unit).beside("pgbench", median(&theirs))
    });
    bench.report.figures.extend(figures);
    Ok(())
}
