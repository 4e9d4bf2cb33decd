//! 19,500 sessions reconnect after a restart. A session of the service counts when it has its
//! snapshot, one of echo as soon as its handshake is answered.

use crate::Result;
use crate::baselines::seed;
use crate::bench::{Bench, PATIENCE};
use crate::measure::median;
use crate::report::{Figure, Gate};

const RUN: &str = "reconnect";

pub fn run(bench: &mut Bench) -> Result<()> {
    let sessions = bench.size(bench.options.sessions, 19_500, 300);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let bar = bench.bar(RUN, 2 * rounds + 1);
    let database = bench.sqlite()?;
    let books = seed::fill(&database, sessions, 1)?;
    let launch = bench.launch(RUN, &[]);
    let mut service = launch.start(&database)?;
    let mut crowd = bench.crowd(service.public, sessions)?;
    crowd.wait("snapshots", PATIENCE, |m| m.snapshots == sessions as u64)?;
    bar.inc(1);
    let (mut rates, mut echo_rates, mut ratios, mut reads) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        service.stop()?;
        crowd.wait("the goodbyes", PATIENCE, |m| m.closed == sessions as u64)?;
        crowd.close()?;
        let echo = bench.baseline(&["echo-server"])?;
        let echo_crowd = bench.crowd(echo.address, sessions)?;
        let took = echo_crowd.wait("echo's sessions", PATIENCE, |m| m.opened == sessions as u64)?;
        let echo_rate = sessions as f64 / took.as_secs_f64();
        echo_crowd.close()?;
        echo.process.stop()?;
        bar.inc(1);
        service = launch.start_at(&database, service.public, service.internal)?;
        crowd = bench.crowd(service.public, sessions)?;
        let took = crowd.wait("snapshots again", PATIENCE, |m| {
            m.snapshots == sessions as u64
        })?;
        bar.inc(1);
        let rate = sessions as f64 / took.as_secs_f64();
        bar.set_message(format!("{rate:.0}/s, echo {echo_rate:.0}/s"));
        let misses = service.registry()?["cache_misses"]
            .as_f64()
            .ok_or("cache_misses is a number")?;
        reads.push(misses / sessions as f64);
        ratios.push(rate / echo_rate);
        rates.push(rate);
        echo_rates.push(echo_rate);
    }
    bench.check_crowd(&crowd, &books);
    crowd.close()?;
    bench.finish(&mut service)?;
    bar.finish();
    let figures = &mut bench.report.figures;
    let mut figure = Figure::new(
        RUN,
        "reconnects a second after a restart",
        median(&rates),
        "/s",
    )
    .beside("echo", median(&echo_rates))
    .gate(Gate::AtLeast(0.6));
    figure.ratio = Some(median(&ratios));
    figures.push(figure);
    let most = reads.into_iter().fold(0.0, f64::max);
    figures.push(Figure::new(RUN, "ledger reads for each user", most, "").gate(Gate::AtMost(1.0)));
    Ok(())
}
