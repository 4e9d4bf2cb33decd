//! One of three nodes is killed with all its sessions, which connect to the other two. Without the audit, whose statements
//! would be counted, too.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::client::entries::{Books, Users};
use crate::client::http::Pace;
use crate::report::{Figure, Gate};

use super::RUN;
use super::cluster::{Cluster, empty};

/// PostgreSQL's connections tell what they did at the latest so long after it.
const COUNTED_AFTER: Duration = Duration::from_secs(12);

pub fn run(bench: &mut Bench) -> Result<()> {
    let sessions = bench.size(bench.options.sessions, 6_500, 200);
    let half = sessions / 2;
    let settle = bench.size(None, COUNTED_AFTER, Duration::from_secs(1));
    let bar = bench.bar("nodes killed", 2);
    let no_audit = [("audit.users_per_s", "0".to_owned())];
    let mut cluster = Cluster::start_on(bench, empty(bench)?, 3, &no_audit)?;
    let (mut workload, mut books) = (
        bench.workload(15, Users::InTurn(2 * half)),
        Books::default(),
    );
    let part = workload.entries(2 * half);
    bench.post_batches(
        &cluster.nodes[0],
        "reward",
        &part,
        1_000,
        (1, Pace::AsAnswered),
    )?;
    books.note(&part);
    let crowd = bench.crowd(cluster.nodes[0].public, 2 * half)?;
    crowd.wait("snapshots", PATIENCE, |m| m.snapshots == 2 * half as u64)?;
    sleep(settle);
    let before = cluster.database.transactions()?;
    bar.inc(1);

    let start = Instant::now();
    cluster.nodes.remove(0).kill();
    crowd.wait("the end of all sessions", PATIENCE, |m| {
        m.closed == 2 * half as u64
    })?;
    let again = [
        bench.crowd_of(cluster.nodes[0].public, 1, half)?,
        bench.crowd_of(cluster.nodes[1].public, half + 1, half)?,
    ];
    for crowd in &again {
        crowd.wait("snapshots again", PATIENCE, |m| m.snapshots == half as u64)?;
    }
    let took = start.elapsed();
    sleep(settle);
    let transactions = cluster.database.transactions()? - before;
    crowd.close()?;
    for crowd in again {
        bench.check_crowd(&crowd, &books);
        crowd.close()?;
    }
    cluster.finish(bench)?;
    bar.finish();
    let figures = [
        (
            "a node killed: all its sessions have a snapshot elsewhere",
            took.as_secs_f64(),
            "s",
            3.0,
        ),
        (
            "statements of PostgreSQL for each of them",
            transactions / (2 * half) as f64,
            "",
            0.05,
        ),
    ];
    let figures = figures.map(|(what, value, unit, most)| {
        Figure::new(RUN, what, value, unit).gate(Gate::AtMost(most))
    });
    bench.report.figures.extend(figures);
    Ok(())
}
