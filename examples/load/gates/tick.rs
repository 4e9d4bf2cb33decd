//! A tick of 1,000,000 rewards for 1,000,000 users through `/internal/v1/batch`, with 5,000
//! sessions open and deposits meanwhile: its speed beside raw, its memory, and the wait of the
//! deposits. There are several rounds, each on a new ledger, because a disk that halts spoils only
//! one.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::batch::Raw;
use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::client::entries::{Books, Entry, Users, Workload};
use crate::client::http::{Outcome, Pace};
use crate::client::posting;
use crate::measure::{median, ms};
use crate::report::{Figure, Gate};
use crate::system::database::Database;
use crate::system::proc;
use crate::system::service::Service;

const RUN: &str = "tick";
const BATCH: usize = 10_000;
const IN_FLIGHT: usize = 4;
const DEPOSITS_PER_S: f64 = 200.0;
const CONNECTIONS: usize = 32;
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
const MIB: f64 = 1024.0 * 1024.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    for database in bench.databases()? {
        on(bench, &database)?;
    }
    Ok(())
}

fn on(bench: &mut Bench, database: &Database) -> Result<()> {
    let rewards = bench.size(bench.options.entries, 1_000_000, 20_000);
    let sessions = bench.size(bench.options.sessions, 5_000, 100);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let kind = database.kind();
    let bar = bench.bar(&format!("{RUN} {kind}"), 4 * rounds);
    let tick = Workload::new(5, Users::InTurn(rewards)).entries(rewards);
    let mut all = Vec::new();
    for _ in 0..rounds {
        // Each round has its own ledger: a tick is the first event of its users.
        all.push(round(bench, &bench.like(database)?, &tick, sessions, &bar)?);
    }
    bar.finish();
    let of = |value: &dyn Fn(&Round) -> f64| median(&all.iter().map(value).collect::<Vec<_>>());
    let largest = |value: &dyn Fn(&Round) -> f64| all.iter().map(value).fold(0.0, f64::max);
    let figures = &mut bench.report.figures;
    let name = |what: &str| format!("{what}, {kind}");
    let mut rate = Figure::new(RUN, name("rewards/s to the end"), of(&Round::rate), "/s")
        .beside("raw", of(&|round| round.raw_rate))
        .gate(Gate::AtLeast(0.6));
    rate.ratio = Some(of(&|round| round.rate() / round.raw_rate));
    figures.push(rate);
    let above = largest(&|round| (round.run.rss_max as f64 - round.idle_rss as f64) / MIB);
    figures.push(
        Figure::new(RUN, name("memory above idle (RSS)"), above, "MiB").gate(Gate::AtMost(512.0)),
    );
    figures.push(Figure::new(
        RUN,
        name("idle memory (PSS)"),
        largest(&|round| round.idle_pss as f64 / MIB),
        "MiB",
    ));
    let p99 = |latencies: &Histogram<u64>| ms(latencies, 0.99);
    let mut deposits = Figure::new(
        RUN,
        name("deposit answer p99 meanwhile"),
        of(&|round| p99(&round.run.deposits.latencies)),
        "ms",
    )
    .beside("without the tick", of(&|round| p99(&round.alone)))
    .gate(Gate::AtMost(8.0));
    deposits.ratio = Some(of(&|round| {
        p99(&round.run.deposits.latencies) / p99(&round.alone)
    }));
    figures.push(deposits);
    figures.push(Figure::new(
        RUN,
        name("last push after the last answer"),
        largest(&|round| round.told_in_s),
        "s",
    ));
    for (number, Round { alone, run, .. }) in (1..).zip(all) {
        let latencies = &mut bench.report.latencies;
        latencies.push((
            format!("{RUN}/{}, round {number}", name("deposits alone")),
            alone,
        ));
        latencies.push((
            format!("{RUN}/{}, round {number}", name("deposits meanwhile")),
            run.deposits.latencies,
        ));
        latencies.push((
            format!("{RUN}/{}, round {number}", name("batches of 10,000")),
            run.tick.latencies,
        ));
    }
    Ok(())
}

/// A tick on a new ledger, beside raw and the same deposits without it.
struct Round {
    entries: usize,
    raw_rate: f64,
    alone: Histogram<u64>,
    idle_rss: u64,
    idle_pss: u64,
    run: Together,
    told_in_s: f64,
}

impl Round {
    fn rate(&self) -> f64 {
        self.entries as f64 / self.run.tick.elapsed.as_secs_f64()
    }
}

fn round(
    bench: &mut Bench,
    database: &Database,
    tick: &[Entry],
    sessions: usize,
    bar: &ProgressBar,
) -> Result<Round> {
    let seconds = bench.size(bench.options.seconds, 10, 1);
    let raw_rate = raw_rate(bench, database, tick)?;
    bar.inc(1);
    let mut service = bench.launch(RUN, &[]).start(database)?;
    let pid = service.pid().ok_or("the bench has started it")?;
    let crowd = bench.crowd(service.public, sessions)?;
    crowd.wait("snapshots", PATIENCE, |m| m.snapshots == sessions as u64)?;
    let (mut workload, mut books) = (Workload::new(6, Users::InTurn(sessions)), Books::default());
    let before = workload.entries(usize::try_from(seconds)? * DEPOSITS_PER_S as usize);
    let way = (CONNECTIONS, Pace::PerSecond(DEPOSITS_PER_S));
    let alone = bench
        .post_singles(service.internal, &before, way, &mut |_| {})?
        .latencies;
    books.note(&before);
    bar.inc(1);
    let (idle_rss, idle_pss) = (proc::rss_bytes(pid)?, proc::pss_bytes(pid)?);
    let run = together(bench, &service, pid, tick, &mut workload)?;
    bench.check_accepted(&run.tick, run.accepted, tick.len());
    bench.check_answered(&run.deposits, run.deposited.len());
    books.note(tick);
    books.note(&run.deposited);
    bar.inc(1);
    let last = |index: usize| books.user(i64::try_from(index + 1).unwrap_or(i64::MAX)).0;
    let told = |versions: &[i64]| {
        versions
            .iter()
            .enumerate()
            .all(|(index, version)| *version == last(index))
    };
    let told_in_s = crowd
        .wait("the last pushes", PATIENCE, |m| told(&m.versions))?
        .as_secs_f64();
    bench.check_crowd(&crowd, &books);
    bench.check_books(&service, &books)?;
    crowd.close()?;
    bench.finish(&mut service)?;
    bar.inc(1);
    Ok(Round {
        entries: tick.len(),
        raw_rate,
        alone,
        idle_rss,
        idle_pss,
        run,
        told_in_s,
    })
}

fn raw_rate(bench: &Bench, like: &Database, tick: &[Entry]) -> Result<f64> {
    let database = bench.like(like)?;
    database.migrate()?;
    Raw::open(&database, &bench.options.raw_pragmas, Books::default())?.rate("reward", tick)
}

struct Together {
    tick: Outcome,
    accepted: u64,
    deposits: Outcome,
    deposited: Vec<Entry>,
    rss_max: u64,
}

/// The tick, the deposits until it is over, and the memory meanwhile.
fn together(
    bench: &Bench,
    service: &Service,
    pid: u32,
    tick: &[Entry],
    workload: &mut Workload,
) -> Result<Together> {
    let (is_over, rss_max) = (AtomicBool::new(false), AtomicU64::new(0));
    let requests = posting::batch_requests(&bench.signer, "reward", tick, BATCH);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let start = Instant::now();
            while !is_over.load(Ordering::Relaxed) && start.elapsed() < 10 * PATIENCE {
                rss_max.fetch_max(proc::rss_bytes(pid).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        let depositor = scope.spawn(|| -> Result<(Outcome, Vec<Entry>)> {
            let mut deposited = Vec::new();
            let more = std::iter::from_fn(|| {
                let entry = (!is_over.load(Ordering::Relaxed)).then(|| workload.entry())?;
                deposited.push(entry.clone());
                Some(Cow::Owned(entry))
            });
            let way = (CONNECTIONS, Pace::PerSecond(DEPOSITS_PER_S));
            let outcome =
                posting::singles(&bench.signer, service.internal, more, way, &mut |_| {})?;
            Ok((outcome, deposited))
        });
        let way = (IN_FLIGHT, Pace::AsAnswered);
        let tick = posting::send_batches(service.internal, requests.into_iter(), way);
        is_over.store(true, Ordering::Relaxed);
        let deposits = depositor.join().map_err(|_| "the depositor has panicked")?;
        sampler.join().map_err(|_| "the sampler has panicked")?;
        let ((tick, accepted), (deposits, deposited)) = (tick?, deposits?);
        Ok(Together {
            tick,
            accepted,
            deposits,
            deposited,
            rss_max: rss_max.load(Ordering::Relaxed),
        })
    })
}
