//! Durable entries a second by single signed webhooks, 256 in flight, beside the usual design.

use crate::Result;
use crate::bench::Bench;
use crate::client::entries::{Books, Users};
use crate::client::http::Pace;
use crate::measure::{latencies, median, ms};
use crate::report::{Figure, Gate};
use crate::system::database::Database;
use crate::system::proc;

const RUN: &str = "singles";
const USERS: usize = 10_000;
const IN_FLIGHT: usize = 256;
/// Factor by which rounds of the slower usual design are shorter.
const ONE_BY_ONE_SHARE: usize = 8;

pub fn run(bench: &mut Bench) -> Result<()> {
    for database in bench.databases()? {
        on(bench, &database)?;
    }
    Ok(())
}

fn on(bench: &mut Bench, database: &Database) -> Result<()> {
    let entries = bench.size(bench.options.entries, 60_000, 2_000);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let kind = database.kind();
    let bar = bench.bar(&format!("{RUN} {kind}"), 2 * rounds);
    let mut service = bench.service("singles", database)?;
    let usual_database = bench.like(database)?;
    usual_database.migrate()?;
    let usual = bench.baseline(&["one-by-one-server", "--database", &usual_database.url()])?;
    let (mut workload, mut books) = (bench.workload(2, Users::Random(USERS)), Books::default());
    let (mut rates, mut usual_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut answers, mut usual_answers, mut cpu_s) = (latencies(), latencies(), 0.0);
    for _ in 0..rounds {
        let part = workload.entries(entries / ONE_BY_ONE_SHARE);
        let outcome = bench.post_singles(
            usual.address,
            &part,
            (IN_FLIGHT, Pace::AsAnswered),
            &mut |_| {},
        )?;
        let usual_rate = outcome.rate();
        usual_answers.add(&outcome.latencies)?;
        bar.inc(1);
        let part = workload.entries(entries);
        let cpu_before = service.pid().map(proc::cpu_s).transpose()?.unwrap_or(0.0);
        let outcome = bench.post_singles(
            service.internal,
            &part,
            (IN_FLIGHT, Pace::AsAnswered),
            &mut |_| {},
        )?;
        cpu_s += service.pid().map(proc::cpu_s).transpose()?.unwrap_or(0.0) - cpu_before;
        books.note(&part);
        answers.add(&outcome.latencies)?;
        bar.inc(1);
        bar.set_message(format!(
            "{:.0}/s, one-by-one {usual_rate:.0}/s",
            outcome.rate()
        ));
        ratios.push(outcome.rate() / usual_rate);
        rates.push(outcome.rate());
        usual_rates.push(usual_rate);
    }
    if service.pid().is_some() {
        bench.check_books(&service, &books)?;
    }
    bench.finish(&mut service)?;
    usual.process.stop()?;
    bar.finish();
    let figures = &mut bench.report.figures;
    figures.push(
        Figure::new(
            RUN,
            format!("durable entries/s by single webhooks, {kind}"),
            median(&rates),
            "/s",
        )
        .gate(Gate::AtLeast(8000.0)),
    );
    let mut figure = Figure::new(
        RUN,
        format!("the same beside one-by-one, {kind}"),
        median(&rates),
        "/s",
    )
    .beside("one-by-one", median(&usual_rates))
    .gate(Gate::AtLeast(5.0));
    figure.ratio = Some(median(&ratios));
    figures.push(figure);
    let p99 = Figure::new(
        RUN,
        format!("answer p99, {IN_FLIGHT} in flight, {kind}"),
        ms(&answers, 0.99),
        "ms",
    );
    figures.push(p99.beside("one-by-one", ms(&usual_answers, 0.99)));
    let per_1000 = cpu_s / (entries * rounds) as f64 * 1000.0;
    figures.push(Figure::new(
        RUN,
        format!("processor seconds for 1,000 entries, {kind}"),
        per_1000,
        "s",
    ));
    bench
        .report
        .latencies
        .push((format!("{RUN}/answer, {kind}"), answers));
    bench
        .report
        .latencies
        .push((format!("{RUN}/answer of one-by-one, {kind}"), usual_answers));
    Ok(())
}
