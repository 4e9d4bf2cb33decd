//! A hot user: 10,000 entries a second to one user, beside the same over 1,000 users. The user has
//! a session, whose frames must obey the pacing.

use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::client::entries::{Books, Users, Workload};
use crate::client::http::Pace;
use crate::measure::{latencies, median, ms};
use crate::report::{Figure, Gate};

const RUN: &str = "hot";
const RATE: usize = 10_000;
const SPREAD: usize = 1_000;
/// Entries of a request, at the rate and as fast as answered.
const BATCH: usize = 100;
const LARGE_BATCH: usize = 2_000;
const IN_FLIGHT: usize = 4;
const CONNECTIONS: usize = 32;
/// Allowed noise for "no slower".
const NO_SLOWER: f64 = 0.95;
/// How late a frame may be, in milliseconds, as in `paced`.
const LATENESS_MS: f64 = 50.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let seconds = bench.size(bench.options.seconds, 10, 1);
    let entries = bench.size(bench.options.entries, 50_000, 2_000);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let rate = bench.size(None, RATE, 1_000);
    let bar = bench.bar(RUN, 2 * rounds + 2);
    let (database, spread_database) = (bench.sqlite()?, bench.sqlite()?);
    let mut hot = bench.launch("hot", &[]).start(&database)?;
    let mut spread = bench.launch("hot-spread", &[]).start(&spread_database)?;
    let crowd = bench.crowd(hot.public, 1)?;
    crowd.wait("the snapshot", PATIENCE, |m| m.snapshots == 1)?;
    let (mut one, mut many) = (
        Workload::new(7, Users::Random(1)),
        Workload::new(8, Users::Random(SPREAD)),
    );
    let (mut hot_books, mut spread_books) = (Books::default(), Books::default());
    let (mut rates, mut spread_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let way = (IN_FLIGHT, Pace::AsAnswered);
        let part = many.entries(entries);
        let spread_time = bench
            .post_batches(&spread, "deposit", &part, LARGE_BATCH, way)?
            .elapsed
            .as_secs_f64();
        spread_books.note(&part);
        bar.inc(1);
        let part = one.entries(entries);
        let time = bench
            .post_batches(&hot, "deposit", &part, LARGE_BATCH, way)?
            .elapsed
            .as_secs_f64();
        hot_books.note(&part);
        bar.inc(1);
        rates.push(entries as f64 / time);
        spread_rates.push(entries as f64 / spread_time);
        ratios.push(spread_time / time);
    }
    crowd.begin();
    let (mut answers, mut spread_answers) = (latencies(), latencies());
    let way = (CONNECTIONS, Pace::PerSecond((rate / BATCH) as f64));
    let part = many.entries(rate * usize::try_from(seconds)?);
    spread_answers.add(
        &bench
            .post_batches(&spread, "deposit", &part, BATCH, way)?
            .latencies,
    )?;
    spread_books.note(&part);
    bar.inc(1);
    let part = one.entries(rate * usize::try_from(seconds)?);
    answers.add(
        &bench
            .post_batches(&hot, "deposit", &part, BATCH, way)?
            .latencies,
    )?;
    hot_books.note(&part);
    let last = hot_books.user(1).0;
    crowd.wait("the last push", PATIENCE, |m| m.versions[0] == last)?;
    bar.inc(1);
    bench.check_crowd(&crowd, &hot_books);
    bench.check_books(&hot, &hot_books)?;
    bench.check_books(&spread, &spread_books)?;
    let (lateness_ms, pushes, too_soon) = {
        let measures = crowd.measures();
        (
            ms(&measures.direct_lateness, 0.99),
            measures.direct,
            measures.too_soon,
        )
    };
    bench.report.check(
        || format!("no push is too soon after another, but {too_soon}"),
        too_soon == 0,
    );
    crowd.close()?;
    bench.finish(&mut hot)?;
    bench.finish(&mut spread)?;
    bar.finish();
    let figures = &mut bench.report.figures;
    let mut figure = Figure::new(
        RUN,
        "entries/s to one user, as fast as answered",
        median(&rates),
        "/s",
    )
    .beside("over 1,000", median(&spread_rates))
    .gate(Gate::AtLeast(NO_SLOWER));
    figure.ratio = Some(median(&ratios));
    figures.push(figure);
    let p99 = Figure::new(
        RUN,
        format!("answer p99 at {rate} entries/s to one user"),
        ms(&answers, 0.99),
        "ms",
    );
    figures.push(p99.beside("over 1,000", ms(&spread_answers, 0.99)));
    figures.push(
        Figure::new(
            RUN,
            "frame after its pacing lets it go, p99",
            lateness_ms,
            "ms",
        )
        .gate(Gate::AtMost(LATENESS_MS)),
    );
    figures.push(Figure::new(
        RUN,
        "pushes to its session",
        pushes as f64 / seconds as f64,
        "/s",
    ));
    bench
        .report
        .latencies
        .push((format!("{RUN}/batches to one user"), answers));
    bench
        .report
        .latencies
        .push((format!("{RUN}/batches over 1,000 users"), spread_answers));
    Ok(())
}
