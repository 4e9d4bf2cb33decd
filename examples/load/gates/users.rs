//! What an entry costs in a ledger that knows 1,000,000 users, beside one that knows 1,000. Raw shows how much of the
//! difference is the database's own.

use super::batch::Raw;
use crate::Result;
use crate::baselines::seed;
use crate::bench::Bench;
use crate::client::entries::{Books, Users, Workload};
use crate::client::http::Pace;
use crate::measure::median;
use crate::report::{Figure, Gate};
use crate::system::database::Database;
use crate::system::service::Service;

const RUN: &str = "users";
const FEW: usize = 1_000;
const BATCH: usize = 5_000;
const IN_FLIGHT: usize = 4;

/// A ledger of so many users: through the service, and a copy of it through raw.
struct Side {
    // Dropped in this order: whoever uses a database before it.
    service: Service,
    raw: Raw,
    _databases: [Database; 2],
    workload: Workload,
    books: Books,
}

impl Side {
    fn new(bench: &Bench, name: &str, users: usize) -> Result<Self> {
        let (database, copy) = (bench.sqlite()?, bench.sqlite()?);
        let books = seed::fill(&database, users, 1)?;
        std::fs::copy(database.file()?, copy.file()?)?;
        let service = bench.launch(name, &[]).start(&database)?;
        let raw = Raw::open(&copy, &bench.options.raw_pragmas, books.clone())?;
        let workload = Workload::new(u64::try_from(users)?, Users::Random(users));
        Ok(Self { service, raw, _databases: [database, copy], workload, books })
    }

    /// Microseconds for an entry: of the service, and of raw.
    fn round(&mut self, bench: &mut Bench, entries: usize) -> Result<(f64, f64)> {
        let part = self.workload.entries(entries);
        let raw_us = 1e6 / self.raw.rate("reward", &part)?;
        let way = (IN_FLIGHT, Pace::AsAnswered);
        let outcome = bench.post_batches(&self.service, "reward", &part, BATCH, way)?;
        self.books.note(&part);
        Ok((outcome.elapsed.as_secs_f64() * 1e6 / entries as f64, raw_us))
    }

    fn finish(mut self, bench: &mut Bench) -> Result<()> {
        bench.check_books(&self.service, &self.books)?;
        bench.finish(&mut self.service)?;
        Ok(())
    }
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let many = bench.size(None, 1_000_000, 20_000);
    let entries = bench.size(bench.options.entries, 50_000, 3_000);
    let rounds = bench.size(bench.options.rounds, 5, 1);
    let bar = bench.bar(RUN, 2 * rounds + 1);
    let (mut large, mut small) = (Side::new(bench, "users-many", many)?, Side::new(bench, "users-few", FEW)?);
    bar.inc(1);
    let (mut costs, mut raw_costs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        for (index, side) in [&mut small, &mut large].into_iter().enumerate() {
            let (us, raw_us) = side.round(bench, entries)?;
            costs[index].push(us);
            raw_costs[index].push(raw_us);
            bar.inc(1);
        }
    }
    large.finish(bench)?;
    small.finish(bench)?;
    bar.finish();
    let figures = &mut bench.report.figures;
    let [few_us, many_us] = costs.map(|all| median(&all));
    let figure = Figure::new(RUN, format!("cost of an entry at {many} known users"), many_us, "µs");
    figures.push(figure.beside(format!("at {FEW}"), few_us).gate(Gate::AtMost(1.3)));
    let [few_us, many_us] = raw_costs.map(|all| median(&all));
    figures.push(Figure::new(RUN, "the same of raw", many_us, "µs").beside(format!("at {FEW}"), few_us));
    Ok(())
}
