//! Durable entries a second by `/internal/v1/batch`: 10,000 users, random event ids. Raw writes the same entries in
//! transactions as large as the service's largest.

use balance_coordinator::limits::TRANSACTION_ENTRIES_MAX;

use crate::Result;
use crate::baselines::{raw_postgres, raw_sqlite};
use crate::bench::Bench;
use crate::client::entries::{Books, Entry, Users};
use crate::client::http::Pace;
use crate::measure::{latencies, median};
use crate::report::{Figure, Gate};
use crate::system::database::Database;
use crate::system::proc;

const RUN: &str = "batch";
const USERS: usize = 10_000;
/// Entries of a request, and requests under way.
const BATCH: usize = 5_000;
const IN_FLIGHT: usize = 4;
/// As many as the service has by default on PostgreSQL.
const POSTGRES_WRITERS: usize = 2;

/// A writer of raw rows.
pub enum Raw {
    Sqlite(Box<raw_sqlite::RawSqlite>),
    Postgres(Vec<raw_postgres::RawPostgres>),
}

impl Raw {
    /// On a migrated ledger that contains `books`.
    pub fn open(database: &Database, pragmas: &str, books: Books) -> Result<Self> {
        Ok(match database {
            Database::Sqlite { .. } => Self::Sqlite(Box::new(raw_sqlite::RawSqlite::open(
                &database.file()?,
                pragmas,
                books,
            )?)),
            Database::Postgres { .. } => {
                let open = |_| raw_postgres::RawPostgres::open(&database.url());
                Self::Postgres((0..POSTGRES_WRITERS).map(open).collect::<Result<_>>()?)
            }
        })
    }

    /// Entries a second.
    pub fn rate(&mut self, kind: &str, entries: &[Entry]) -> Result<f64> {
        let elapsed = match self {
            Self::Sqlite(raw) => raw_sqlite::run(raw, kind, entries, TRANSACTION_ENTRIES_MAX)?,
            Self::Postgres(writers) => {
                raw_postgres::run(writers, kind, entries, TRANSACTION_ENTRIES_MAX)?
            }
        };
        Ok(entries.len() as f64 / elapsed.as_secs_f64())
    }
}

pub fn run(bench: &mut Bench) -> Result<()> {
    for database in bench.databases()? {
        on(bench, &database)?;
    }
    Ok(())
}

fn on(bench: &mut Bench, database: &Database) -> Result<()> {
    let entries = bench.size(bench.options.entries, 100_000, 5_000);
    let rounds = bench.size(bench.options.rounds, 5, 1);
    let bar = bench.bar(&format!("{RUN} {}", database.kind()), 2 * rounds);
    let mut service = bench.service("batch", database)?;
    let raw_database = bench.like(database)?;
    raw_database.migrate()?;
    let mut raw = Raw::open(&raw_database, &bench.options.raw_pragmas, Books::default())?;
    let (mut workload, mut books) = (bench.workload(1, Users::Random(USERS)), Books::default());
    let (mut raw_rates, mut rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut answers, mut cpu_s) = (latencies(), 0.0);
    // Of the database's server: for the service, and for raw.
    let mut server_cpu_s = [0.0; 2];
    for _ in 0..rounds {
        let part = workload.entries(entries);
        let begun = database.server_cpu_s();
        let raw_rate = raw.rate("reward", &part)?;
        let raw_ended = database.server_cpu_s();
        bar.inc(1);
        let cpu_before = service.pid().map(proc::cpu_s).transpose()?.unwrap_or(0.0);
        let outcome = bench.post_batches(
            &service,
            "reward",
            &part,
            BATCH,
            (IN_FLIGHT, Pace::AsAnswered),
        )?;
        cpu_s += service.pid().map(proc::cpu_s).transpose()?.unwrap_or(0.0) - cpu_before;
        let took = |from: Option<f64>, to: Option<f64>| Some(to? - from?);
        let ours = took(raw_ended, database.server_cpu_s());
        if let Some((ours, raws)) = ours.zip(took(begun, raw_ended)) {
            server_cpu_s[0] += ours;
            server_cpu_s[1] += raws;
        }
        books.note(&part);
        let rate = part.len() as f64 / outcome.elapsed.as_secs_f64();
        answers.add(&outcome.latencies)?;
        bar.inc(1);
        bar.set_message(format!("{rate:.0}/s, raw {raw_rate:.0}/s"));
        ratios.push(rate / raw_rate);
        rates.push(rate);
        raw_rates.push(raw_rate);
    }
    if service.pid().is_some() {
        bench.check_books(&service, &books)?;
    }
    bench.finish(&mut service)?;
    bar.finish();
    let kind = database.kind();
    let mut figure = Figure::new(
        RUN,
        format!("durable entries/s by batch, {kind}"),
        median(&rates),
        "/s",
    )
    .beside("raw", median(&raw_rates))
    .gate(Gate::AtLeast(0.7));
    // Each round has its own raw baseline.
    figure.ratio = Some(median(&ratios));
    bench.report.figures.push(figure);
    let per_entry_us = |cpu_s: f64| cpu_s / (entries * rounds) as f64 * 1e6;
    bench.report.figures.push(Figure::new(
        RUN,
        format!("the service's processor time for an entry, {kind}"),
        per_entry_us(cpu_s),
        "µs",
    ));
    if server_cpu_s[0] > 0.0 {
        let [ours, raws] = server_cpu_s.map(per_entry_us);
        let figure = Figure::new(RUN, "PostgreSQL's processor time for an entry", ours, "µs");
        bench.report.figures.push(figure.beside("raw", raws));
    }
    bench
        .report
        .latencies
        .push((format!("{RUN}/answer to {BATCH} entries, {kind}"), answers));
    Ok(())
}
