//! A follower of the feed: how many entries a second it reads when it begins with the first one, how far it is behind while
//! 20,000 a second are posted in batches, and how late an entry comes to one that waits, at 2,000 single webhooks a second.

use crate::Result;
use crate::bench::Bench;
use crate::client::entries::{Books, Users};
use crate::client::follower::{Followed, Follower};
use crate::client::http::Pace;
use crate::measure::ms;
use crate::report::{Figure, Gate};
use crate::system::database::Database;
use crate::system::service::Service;

const RUN: &str = "follow";
const USERS: usize = 10_000;
const BATCH: usize = 500;
const BATCHED_PER_S: usize = 20_000;
const SINGLES_PER_S: usize = 2_000;
const IN_FLIGHT: usize = 256;

pub fn run(bench: &mut Bench) -> Result<()> {
    for database in bench.databases()? {
        on(bench, &database)?;
    }
    Ok(())
}

fn on(bench: &mut Bench, database: &Database) -> Result<()> {
    let kind = database.kind();
    let seconds = bench.size(bench.options.seconds, 20, 2);
    let seconds = usize::try_from(seconds)?;
    let bar = bench.bar(&format!("{RUN} {kind}"), 3);
    let mut service = bench.service("follow", database)?;
    let (mut workload, mut books) = (bench.workload(13, Users::Random(USERS)), Books::default());

    let part = workload.entries(SINGLES_PER_S * seconds);
    let following = latest(bench, &service)?.follow(part.len());
    let pace = Pace::PerSecond(SINGLES_PER_S as f64);
    bench.post_singles(service.internal, &part, (IN_FLIGHT, pace), &mut |_| {})?;
    books.note(&part);
    let waited = ended(following)?;
    bar.inc(1);

    let part = workload.entries(BATCHED_PER_S * seconds);
    let following = latest(bench, &service)?.follow(part.len());
    let pace = Pace::PerSecond((BATCHED_PER_S / BATCH) as f64);
    bench.post_batches(&service, "reward", &part, BATCH, (IN_FLIGHT, pace))?;
    let answered = std::time::Instant::now();
    books.note(&part);
    let behind = ended(following)?;
    bar.inc(1);

    let all = usize::try_from(books.entries())?;
    let first = Follower::new(service.internal, bench.signer.clone(), false)?;
    let caught_up = ended(first.follow(all))?;
    bar.inc(1);
    if service.pid().is_some() {
        bench.check_books(&service, &books)?;
    }
    bench.finish(&mut service)?;
    bar.finish();
    let counts = [waited.entries + behind.entries, caught_up.entries];
    bench.report.check(
        || format!("each of {all} entries is followed twice, but: {counts:?}"),
        counts == [all, all],
    );
    let behind_ms = behind
        .ended
        .saturating_duration_since(answered)
        .as_secs_f64()
        * 1000.0;
    let rate = caught_up.entries as f64 / caught_up.elapsed.as_secs_f64();
    for (what, value, unit, gate) in [
        (
            "entries/s read from the first one on",
            rate,
            "/s",
            Gate::AtLeast(20_000.0),
        ),
        (
            "behind the last answer, at 20,000 entries/s in batches",
            behind_ms,
            "ms",
            Gate::AtMost(1000.0),
        ),
        (
            "commit to arrival p99, at 20,000 entries/s in batches",
            ms(&behind.lags, 0.99),
            "ms",
            Gate::None,
        ),
        (
            "commit to arrival p99, waiting, at 2,000 webhooks/s",
            ms(&waited.lags, 0.99),
            "ms",
            Gate::AtMost(50.0),
        ),
    ] {
        let figure = Figure::new(RUN, format!("{what}, {kind}"), value, unit);
        bench.report.figures.push(figure.gate(gate));
    }
    bench
        .report
        .latencies
        .push((format!("{RUN}/commit to arrival, {kind}"), waited.lags));
    Ok(())
}

fn latest(bench: &Bench, service: &Service) -> Result<Follower> {
    Follower::new(service.internal, bench.signer.clone(), true)
}

fn ended(following: std::thread::JoinHandle<Result<Followed>>) -> Result<Followed> {
    following.join().map_err(|_| "the follower has panicked")?
}
