//! What an entry costs PostgreSQL when three nodes write, beside one: where each user's entries always come to the same node,
//! and where each request goes to any of them. Batches of 4,000 over 1,000,000 known users, so
//! that the writers' transactions are as large as they get, at one node and at three.

use crate::Result;
use crate::bench::Bench;
use crate::client::entries::{Books, Entry, Users};
use crate::client::http::{Outcome, Pace};
use crate::client::posting;
use crate::measure::median;
use crate::report::{Figure, Gate};
use crate::system::database::{self, Database};
use crate::system::proc;
use crate::system::service::Service;

use super::RUN;
use super::cluster::{Cluster, empty};

const NODES: usize = 3;
const BATCH: usize = 4_000;
const IN_FLIGHT_EACH: usize = 2;

pub fn run(bench: &mut Bench) -> Result<()> {
    let users = bench.size(None, 1_000_000, 3_000);
    let entries = bench.size(bench.options.entries, 120_000, 3_000);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let server = bench
        .options
        .postgres
        .clone()
        .ok_or("--postgres is not given")?;
    let postgres = database::postgres_pid(&server)?;
    let bar = bench.bar("nodes routing", 4 * rounds + 1);
    let (alone_database, database) = (empty(bench)?, empty(bench)?);
    for database in [&alone_database, &database] {
        know(database, users)?;
    }
    let mut alone = bench.launch("nodes-alone", &[]).start(&alone_database)?;
    let mut cluster = Cluster::start_on(bench, database, NODES, &[])?;
    bar.inc(1);
    let mut workload = bench.workload(17, Users::Random(users));
    let (mut alone_books, mut books) = (Books::default(), Books::default());
    let [mut one, mut by_user, mut at_random] = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        let part = workload.entries(entries);
        let more = workload.entries(entries);
        // Twice, so that its ledger grows as the other one does.
        for part in [&part, &more] {
            one.push(cost(bench, postgres, &[(&alone, part.clone())])?);
            alone_books.note(part);
            bar.inc(1);
        }
        let mut shares: [Vec<Entry>; NODES] = Default::default();
        for entry in part {
            shares[usize::try_from(entry.user)? % NODES].push(entry);
        }
        by_user.push(cost_of_shares(
            bench, postgres, &cluster, shares, &mut books,
        )?);
        bar.inc(1);
        let mut shares: [Vec<Entry>; NODES] = Default::default();
        for (index, entry) in more.into_iter().enumerate() {
            shares[index % NODES].push(entry);
        }
        at_random.push(cost_of_shares(
            bench, postgres, &cluster, shares, &mut books,
        )?);
        bar.inc(1);
    }
    bench.check_books(&alone, &alone_books)?;
    for node in &cluster.nodes {
        bench.check_books(node, &books)?;
    }
    bench.finish(&mut alone)?;
    cluster.finish(bench)?;
    bar.finish();
    let baseline = median(&one);
    for (what, values, most) in [
        (
            "PostgreSQL's processor for an entry, three nodes, users by hash",
            by_user,
            1.10,
        ),
        ("the same, each request to any node", at_random, 1.25),
    ] {
        let figure = Figure::new(RUN, what, median(&values), "µs").beside("one node", baseline);
        bench.report.figures.push(figure.gate(Gate::AtMost(most)));
    }
    Ok(())
}

/// Makes users that have no entry yet.
fn know(database: &Database, users: usize) -> Result<()> {
    database.migrate()?;
    database.execute(&format!(
        "INSERT INTO accounts (user_id, version, created_at_us, updated_at_us)
           SELECT n, 0, 1754301902250000, 1754301902250000 FROM generate_series(1, {users}) n;
         ANALYZE accounts; CHECKPOINT"
    ))
}

fn cost_of_shares(
    bench: &mut Bench,
    postgres: u32,
    cluster: &Cluster,
    shares: [Vec<Entry>; NODES],
    books: &mut Books,
) -> Result<f64> {
    shares.iter().for_each(|share| books.note(share));
    let work: Vec<_> = cluster.nodes.iter().zip(shares).collect();
    cost(bench, postgres, &work)
}

/// PostgreSQL's processor time for an entry in microseconds, when each node is sent its entries, all at once.
fn cost(bench: &mut Bench, postgres: u32, work: &[(&Service, Vec<Entry>)]) -> Result<f64> {
    let in_flight = IN_FLIGHT_EACH * NODES / work.len();
    let before = proc::family_cpu_s(postgres)?;
    let signer = &bench.signer;
    let outcomes: Vec<Result<(Outcome, u64)>> = std::thread::scope(|scope| {
        let send = |(node, entries): &(&Service, Vec<Entry>)| {
            let (address, entries) = (node.internal, entries.clone());
            let way = (in_flight, Pace::AsAnswered);
            scope.spawn(move || posting::batches(signer, address, "reward", &entries, BATCH, way))
        };
        let sending: Vec<_> = work.iter().map(send).collect();
        let ended = sending.into_iter().map(|thread| thread.join());
        ended
            .map(|sent| sent.map_err(|_| "a sender has panicked")?)
            .collect()
    });
    let took = proc::family_cpu_s(postgres)? - before;
    let mut count = 0;
    for (outcome, (_, entries)) in outcomes.into_iter().zip(work) {
        let (outcome, accepted) = outcome?;
        bench.check_accepted(&outcome, accepted, entries.len());
        count += entries.len();
    }
    Ok(took * 1_000_000.0 / count as f64)
}
