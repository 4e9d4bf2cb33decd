//! A tick of 1,000,000 rewards for 1,000,000 users through `/internal/v1/batch`, with 5,000 sessions open and deposits
//! meanwhile: how fast it is done beside raw, what memory it takes, and how long the deposits wait.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::batch::Raw;
use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::client::entries::{Books, Entry, Users, Workload};
use crate::client::http::{Outcome, Pace};
use crate::client::posting;
use crate::measure::ms;
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
    let seconds = bench.size(bench.options.seconds, 10, 1);
    let kind = database.kind();
    let bar = bench.bar(&format!("{RUN} {kind}"), 4);
    let tick = Workload::new(5, Users::InTurn(rewards)).entries(rewards);
    let raw_rate = raw_rate(bench, database, &tick)?;
    bar.inc(1);
    let mut service = bench.launch(RUN, &[]).start(database)?;
    let pid = service.pid().ok_or("the bench has started it")?;
    let crowd = bench.crowd(service.public, sessions)?;
    crowd.wait("snapshots", PATIENCE, |m| m.snapshots == sessions as u64)?;
    let (mut workload, mut books) = (Workload::new(6, Users::InTurn(sessions)), Books::default());
    let before = workload.entries(usize::try_from(seconds)? * DEPOSITS_PER_S as usize);
    let way = (CONNECTIONS, Pace::PerSecond(DEPOSITS_PER_S));
    let alone = bench.post_singles(service.internal, &before, way, &mut |_| {})?;
    books.note(&before);
    bar.inc(1);
    let (idle_rss, idle_pss) = (proc::rss_bytes(pid)?, proc::pss_bytes(pid)?);
    let run = together(bench, &service, pid, &tick, &mut workload)?;
    bench.check_accepted(&run.tick, run.accepted, tick.len());
    bench.check_answered(&run.deposits, run.deposited.len());
    books.note(&tick);
    books.note(&run.deposited);
    bar.inc(1);
    let last = |index: usize| books.user(i64::try_from(index + 1).unwrap_or(i64::MAX)).0;
    let told = |versions: &[i64]| versions.iter().enumerate().all(|(index, version)| *version == last(index));
    let told_in = crowd.wait("the last pushes", PATIENCE, |m| told(&m.versions))?;
    bench.check_crowd(&crowd, &books);
    bench.check_books(&service, &books)?;
    crowd.close()?;
    bench.finish(&mut service)?;
    bar.finish();
    let rate = tick.len() as f64 / run.tick.elapsed.as_secs_f64();
    let figures = &mut bench.report.figures;
    let name = |what: &str| format!("{what}, {kind}");
    figures.push(
        Figure::new(RUN, name("rewards/s to the end"), rate, "/s").beside("raw", raw_rate).gate(Gate::AtLeast(0.6)),
    );
    let above = (run.rss_max as f64 - idle_rss as f64) / MIB;
    figures.push(Figure::new(RUN, name("memory above idle (RSS)"), above, "MiB").gate(Gate::AtMost(512.0)));
    figures.push(Figure::new(RUN, name("idle memory (PSS)"), idle_pss as f64 / MIB, "MiB"));
    figures.push(deposits(&name("deposit answer p99 meanwhile"), &run.deposits.latencies, &alone.latencies));
    figures.push(Figure::new(RUN, name("last push after the last answer"), told_in.as_secs_f64(), "s"));
    let latencies = &mut bench.report.latencies;
    latencies.push((format!("{RUN}/{}", name("deposits alone")), alone.latencies));
    latencies.push((format!("{RUN}/{}", name("deposits meanwhile")), run.deposits.latencies));
    latencies.push((format!("{RUN}/{}", name("batches of 10,000")), run.tick.latencies));
    Ok(())
}

fn deposits(what: &str, meanwhile: &Histogram<u64>, alone: &Histogram<u64>) -> Figure {
    Figure::new(RUN, what, ms(meanwhile, 0.99), "ms")
        .beside("without the tick", ms(alone, 0.99))
        .gate(Gate::AtMost(3.0))
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
fn together(bench: &Bench, service: &Service, pid: u32, tick: &[Entry], workload: &mut Workload) -> Result<Together> {
    let (is_over, rss_max) = (AtomicBool::new(false), AtomicU64::new(0));
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
            let outcome = posting::singles(&bench.signer, service.internal, more, way, &mut |_| {})?;
            Ok((outcome, deposited))
        });
        let way = (IN_FLIGHT, Pace::AsAnswered);
        let tick = posting::batches(&bench.signer, service.internal, "reward", tick, BATCH, way);
        is_over.store(true, Ordering::Relaxed);
        let deposits = depositor.join().map_err(|_| "the depositor has panicked")?;
        sampler.join().map_err(|_| "the sampler has panicked")?;
        let ((tick, accepted), (deposits, deposited)) = (tick?, deposits?);
        Ok(Together { tick, accepted, deposits, deposited, rss_max: rss_max.load(Ordering::Relaxed) })
    })
}
