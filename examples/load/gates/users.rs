//! The cost of an entry in a ledger that knows 1,000,000 users, beside one of 1,000. Both have the
//! same number of active users and of entries, because the index of random event ids costs more the
//! longer it is. That cost is measured separately, beside a nearly empty ledger. A last ledger has
//! entries for any of 1,000,000 users. Raw, on copies of all, shows the database's share.

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

/// A ledger of a number of users: through the service, and a copy through raw.
struct Side {
    // Dropped in this order: the users of a database before the database.
    service: Service,
    raw: Raw,
    _databases: [Database; 2],
    workload: Workload,
    books: Books,
}

impl Side {
    fn new(bench: &Bench, name: &str, (known, each): (usize, usize), users: Users) -> Result<Self> {
        let (database, copy) = (bench.sqlite()?, bench.sqlite()?);
        let books = seed::fill(&database, known, each)?;
        std::fs::copy(database.file()?, copy.file()?)?;
        let service = bench.launch(name, &[]).start(&database)?;
        let raw = Raw::open(&copy, &bench.options.raw_pragmas, books.clone())?;
        let workload = Workload::new(u64::try_from(known)?, users);
        Ok(Self {
            service,
            raw,
            _databases: [database, copy],
            workload,
            books,
        })
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
    let bar = bench.bar(RUN, 4 * rounds + 1);
    let spread = |known| Users::Spread { active: FEW, known };
    let mut sides = [
        Side::new(bench, "users-new", (FEW, 1), spread(FEW))?,
        Side::new(bench, "users-few", (FEW, many / FEW), spread(FEW))?,
        Side::new(bench, "users-many", (many, 1), spread(many))?,
        Side::new(bench, "users-all", (many, 1), Users::Random(many))?,
    ];
    bar.inc(1);
    let (mut costs, mut raw_costs) = ([const { Vec::new() }; 4], [const { Vec::new() }; 4]);
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
    let [of, of_raw] = [costs, raw_costs].map(|each| each.map(|all| median(&all)));
    let mut tell = |what: String, us: f64, beside: (&str, f64), gate: Option<Gate>| {
        let figure = Figure::new(RUN, what, us, "µs").beside(beside.0, beside.1);
        bench.report.figures.push(if let Some(gate) = gate {
            figure.gate(gate)
        } else {
            figure
        });
    };
    let at = format!("at {FEW} known");
    tell(
        format!("cost of an entry at {many} known users"),
        of[2],
        (&at, of[1]),
        Some(Gate::AtMost(1.3)),
    );
    tell("the same of raw".into(), of_raw[2], (&at, of_raw[1]), None);
    let new = format!("behind {FEW}");
    tell(
        format!("cost of an entry behind {many} others, {FEW} users"),
        of[1],
        (&new, of[0]),
        None,
    );
    tell("the same of raw".into(), of_raw[1], (&new, of_raw[0]), None);
    tell(
        format!("cost of an entry for any of {many} users"),
        of[3],
        ("raw", of_raw[3]),
        None,
    );
    Ok(())
}
