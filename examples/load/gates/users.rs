//! What an entry costs in a ledger that knows 1,000,000 users, beside one that knows 1,000, with the same traffic: the same
//! number of users is active in both. A third ledger has entries for any of 1,000,000 users, which touches as many pages of
//! the database: raw shows how much of its cost is the database's own.

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
    fn new(bench: &Bench, name: &str, known: usize, users: Users) -> Result<Self> {
        let (database, copy) = (bench.sqlite()?, bench.sqlite()?);
        let books = seed::fill(&database, known, 1)?;
        std::fs::copy(database.file()?, copy.file()?)?;
        let service = bench.launch(name, &[]).start(&database)?;
        let raw = Raw::open(&copy, &bench.options.raw_pragmas, books.clone())?;
        let workload = Workload::new(u64::try_from(known)?, users);
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
    let bar = bench.bar(RUN, 3 * rounds + 1);
    let spread = |known| Users::Spread { active: FEW, known };
    let mut sides = [
        Side::new(bench, "users-few", FEW, spread(FEW))?,
        Side::new(bench, "users-many", many, spread(many))?,
        Side::new(bench, "users-all", many, Users::Random(many))?,
    ];
    bar.inc(1);
    let (mut costs, mut raw_costs) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for _ in 0..rounds {
        for (index, side) in sides.iter_mut().enumerate() {
            let (us, raw_us) = side.round(bench, entries)?;
            costs[index].push(us);
            raw_costs[index].push(raw_us);
            bar.inc(1);
        }
    }
    for side in sides {
        side.finish(bench)?;
    }
    bar.finish();
    let figures = &mut bench.report.figures;
    let ([few_us, many_us, all_us], raw) = (costs.map(|all| median(&all)), raw_costs.map(|all| median(&all)));
    let figure = Figure::new(RUN, format!("cost of an entry at {many} known users"), many_us, "µs");
    figures.push(figure.beside(format!("at {FEW}"), few_us).gate(Gate::AtMost(1.3)));
    figures.push(Figure::new(RUN, "the same of raw", raw[1], "µs").beside(format!("at {FEW}"), raw[0]));
    let figure = Figure::new(RUN, format!("cost of an entry for any of {many} users"), all_us, "µs");
    figures.push(figure.beside("raw", raw[2]));
    Ok(())
}
