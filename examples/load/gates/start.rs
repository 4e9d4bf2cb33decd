//! A ledger of 10,000,000 entries: the time from start to ready, and the speed of `verify`.

use crate::Result;
use crate::baselines::seed;
use crate::bench::Bench;
use crate::report::{Figure, Gate};

const RUN: &str = "start";
const ENTRIES_PER_USER: usize = 10;

pub fn run(bench: &mut Bench) -> Result<()> {
    let entries = bench.size(bench.options.entries, 10_000_000, 50_000);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let bar = bench.bar(RUN, rounds + 2);
    let database = bench.sqlite()?;
    let books = seed::fill(&database, entries / ENTRIES_PER_USER, ENTRIES_PER_USER)?;
    bar.inc(1);
    let launch = bench.launch(RUN, &[]);
    let mut ready_s: f64 = 0.0;
    for round in 1..=rounds {
        let mut service = launch.start(&database)?;
        ready_s = ready_s.max(service.ready_in.as_secs_f64());
        bar.inc(1);
        if round < rounds {
            service.stop()?;
            continue;
        }
        bench.check_books(&service, &books)?;
        let verified = bench.finish(&mut service)?;
        bar.inc(1);
        let rate = verified.map_or(f64::NAN, |took| books.entries() as f64 / took.as_secs_f64());
        let figure = Figure::new(
            RUN,
            format!("entries/s of verify, of {}", books.entries()),
            rate,
            "/s",
        );
        bench
            .report
            .figures
            .push(figure.gate(Gate::AtLeast(500_000.0)));
    }
    bar.finish();
    let figure = Figure::new(
        RUN,
        format!("start to ready, the slowest of {rounds}"),
        ready_s,
        "s",
    );
    bench.report.figures.push(figure.gate(Gate::AtMost(2.0)));
    Ok(())
}
