//! How soon a session sees a deposit: 2,000 direct deposits a second over 5,000 sessions, each user
//! in turn, so that no push waits for its pacing. Echo answers as many frames of the same size to
//! as many sessions.
//!
//! A frame's `committed_at` is when its transaction was decided, before the wait for the disk;
//! `pushed_at` is when the actor made the frame after the commit. Two figures cover what follows a
//! commit: push → frame beside echo, and decision → frame beside a bare commit plus echo.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Result;
use crate::baselines::{raw_postgres, raw_sqlite};
use crate::bench::{Bench, PATIENCE};
use crate::client::clock::now_us;
use crate::client::crowd::Crowd;
use crate::client::entries::{Books, Users, Workload};
use crate::client::http::Pace;
use crate::measure::{latencies, ms};
use crate::report::{Figure, Gate};
use crate::system::database::Database;
use crate::system::proc;

const RUN: &str = "frames";
const RATE: usize = 2_000;
/// Connections that webhooks are sent over.
const CONNECTIONS: usize = 64;
/// Allowed latency from webhook to frame beyond a bare commit and a bare frame, in milliseconds.
const ALLOWANCE_MS: f64 = 2.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    for database in bench.databases()? {
        on(bench, &database)?;
    }
    Ok(())
}

fn on(bench: &mut Bench, database: &Database) -> Result<()> {
    let kind = database.kind();
    let sessions = bench.size(bench.options.sessions, 5_000, 200);
    let seconds = bench.size(bench.options.seconds, 10, 2);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let rate = bench.size(None, RATE, 200);
    let bar = bench.bar(&format!("{RUN} {kind}"), 2 * rounds + 1);
    let single = single_commits(bench, database)?;
    bar.inc(1);
    let mut service = bench.service("frames", database)?;
    let crowd = bench.crowd(service.public, sessions)?;
    crowd.wait("snapshots", PATIENCE, |m| m.snapshots == sessions as u64)?;
    let echo = bench.baseline(&["echo-server"])?;
    let echo_crowd = bench.crowd(echo.address, sessions)?;
    echo_crowd.wait("echo's sessions", PATIENCE, |m| m.opened == sessions as u64)?;
    let (mut workload, mut books) = (bench.workload(3, Users::InTurn(sessions)), Books::default());
    let (mut answers, mut cpu_s, mut pushed) = (latencies(), 0.0, 0u64);
    crowd.begin();
    echo_crowd.begin();
    for round in 1..=rounds {
        let part = workload.entries(rate * usize::try_from(seconds)?);
        let cpu_before = service.pid().map(proc::cpu_s).transpose()?.unwrap_or(0.0);
        let pace = (CONNECTIONS, Pace::PerSecond(rate as f64));
        let outcome = bench.post_singles(service.internal, &part, pace, &mut |entry| {
            crowd
                .expected()
                .will_send(usize::try_from(entry.user - 1).unwrap_or(0), now_us());
        })?;
        answers.add(&outcome.latencies)?;
        books.note(&part);
        pushed += part.len() as u64;
        crowd.wait("every push", PATIENCE, |m| m.direct >= pushed)?;
        cpu_s += service.pid().map(proc::cpu_s).transpose()?.unwrap_or(0.0) - cpu_before;
        bar.inc(1);
        speak(&echo_crowd, rate, seconds, round)?;
        bar.inc(1);
    }
    bench.check_crowd(&crowd, &books);
    let log_lines = service
        .pid()
        .map(|_| service.process()?.lines_with("DIRECT_BALANCE_UPDATE"))
        .transpose()?;
    bench.report.check(
        || format!("{pushed} lines of the log, but {log_lines:?}"),
        log_lines.is_none_or(|n| n as u64 == pushed),
    );
    tell(bench, kind, (&crowd, &echo_crowd), &single, (pushed, cpu_s))?;
    bench
        .report
        .latencies
        .push((format!("{RUN}/webhook answer, {kind}"), answers));
    crowd.close()?;
    echo_crowd.close()?;
    bench.finish(&mut service)?;
    echo.process.stop()?;
    bar.finish();
    Ok(())
}

/// Sends texts on echo's sessions for a round and waits for all answers.
fn speak(crowd: &Crowd, rate: usize, seconds: u64, round: usize) -> Result<()> {
    let expected = (rate * usize::try_from(seconds)? * round) as u64;
    crowd.speak(i64::try_from(rate)?);
    crowd.wait("echo's frames", PATIENCE, |m| {
        m.direct + m.unsaid >= expected
    })?;
    crowd.speak(0);
    Ok(())
}

fn tell(
    bench: &mut Bench,
    kind: &str,
    crowds: (&Crowd, &Crowd),
    single: &Histogram<u64>,
    (pushed, cpu_s): (u64, f64),
) -> Result<()> {
    let (measures, echo) = (crowds.0.measures(), crowds.1.measures());
    let echo_p99 = ms(&echo.commit_to_frame, 0.99);
    let single_ms = ms(single, 0.99);
    let frame_bytes = measures.push_bytes as f64 / measures.direct.max(1) as f64;
    let echo_bytes = echo.push_bytes as f64 / echo.direct.max(1) as f64;
    let name = |what: &str| format!("{what}, {kind}");
    let figures = &mut bench.report.figures;
    let push_p99 = Figure::new(
        RUN,
        name("commit known → frame p99"),
        ms(&measures.push_to_frame, 0.99),
        "ms",
    );
    figures.push(push_p99.beside("echo", echo_p99).gate(Gate::AtMost(2.0)));
    let median = Figure::new(
        RUN,
        name("commit known → frame median"),
        ms(&measures.push_to_frame, 0.5),
        "ms",
    );
    figures.push(median.gate(Gate::AtMost(1.0)));
    let commit_p99 = Figure::new(
        RUN,
        name("decision → commit → frame p99"),
        ms(&measures.commit_to_frame, 0.99),
        "ms",
    );
    let bare = single_ms + 2.0 * echo_p99;
    figures.push(commit_p99.beside("raw commit p99 + 2 × echo p99 =", bare));
    figures.push(Figure::new(
        RUN,
        name("decision → commit → frame median"),
        ms(&measures.commit_to_frame, 0.5),
        "ms",
    ));
    let webhook = Figure::new(
        RUN,
        name("webhook → frame p99"),
        ms(&measures.webhook_to_frame, 0.99),
        "ms",
    );
    let allowed = single_ms + echo_p99 + ALLOWANCE_MS;
    figures.push(
        webhook
            .beside("raw commit p99 + echo p99 + 2 ms =", allowed)
            .gate(Gate::AtMost(1.0)),
    );
    figures.push(Figure::new(
        RUN,
        name("a raw commit of one entry p99"),
        single_ms,
        "ms",
    ));
    // At the rate of webhooks, so that a disk that halts delays everything meant to be sent
    // meanwhile.
    let every_us = 1_000_000 / RATE as u64;
    let meant_ms = ms(&single.clone_correct(every_us), 0.99);
    figures.push(Figure::new(
        RUN,
        name(&format!("the same, one meant every {every_us} µs, p99")),
        meant_ms,
        "ms",
    ));
    figures.push(
        Figure::new(RUN, name("bytes of a push"), frame_bytes, "bytes").beside("echo", echo_bytes),
    );
    let per_1000 = cpu_s / pushed as f64 * 1000.0;
    figures.push(Figure::new(
        RUN,
        name("processor seconds for 1,000 webhooks with a push"),
        per_1000,
        "s",
    ));
    let histograms = [
        ("decision → frame", &measures.commit_to_frame),
        ("commit known → frame", &measures.push_to_frame),
        ("webhook → frame", &measures.webhook_to_frame),
        ("echo", &echo.commit_to_frame),
    ];
    let latencies = &mut bench.report.latencies;
    latencies.extend(
        histograms.map(|(what, histogram)| (format!("{RUN}/{}", name(what)), histogram.clone())),
    );
    let (too_soon, unsaid) = (measures.too_soon, echo.unsaid);
    drop((measures, echo));
    bench.report.check(
        || format!("no push is too soon after another, but {too_soon}"),
        too_soon == 0,
    );
    bench.report.check(
        || format!("echo's clients could speak, but not {unsaid} times"),
        unsaid == 0,
    );
    Ok(())
}

/// One entry, one commit, through bare statements, one after the other.
fn single_commits(bench: &Bench, like: &Database) -> Result<Histogram<u64>> {
    let database = bench.like(like)?;
    database.migrate()?;
    let entries = Workload::new(4, Users::Random(5_000)).entries(bench.size(None, 20_000, 200));
    let histogram = match &database {
        Database::Sqlite { .. } => {
            let mut raw = raw_sqlite::RawSqlite::open(
                &database.file()?,
                &bench.options.raw_pragmas,
                Books::default(),
            )?;
            raw_sqlite::run_single(&mut raw, "deposit", &entries)?
        }
        Database::Postgres { .. } => raw_postgres::run_single(
            &mut raw_postgres::RawPostgres::open(&database.url())?,
            "deposit",
            &entries,
        )?,
    };
    std::thread::sleep(Duration::from_millis(200));
    Ok(histogram)
}
