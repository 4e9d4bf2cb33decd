//! How soon a session at another node sees a deposit: 2,000 a second, all of them sent to one node, over sessions of which
//! half are at that node and half at another. A third node has nothing but the bus.
//!
//! `committed_at` of a frame is when its transaction was decided, so both figures contain the commit itself.

use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::client::clock::now_us;
use crate::client::entries::{Books, Users};
use crate::client::http::Pace;
use crate::measure::{median, ms};
use crate::report::{Figure, Gate};

use super::RUN;
use super::cluster::Cluster;

const RATE: usize = 2_000;
const CONNECTIONS: usize = 64;
/// How much later than a frame of the committing node, in milliseconds.
const LATER_MS: f64 = 5.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let half = bench.size(bench.options.sessions, 5_000, 200) / 2;
    let seconds = bench.size(bench.options.seconds, 10, 2);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let rate = bench.size(None, RATE, 200);
    let bar = bench.bar("nodes frames", rounds);
    let mut cluster = Cluster::start(bench, 3)?;
    let crowds = [
        bench.crowd_of(cluster.nodes[0].public, 1, half)?,
        bench.crowd_of(cluster.nodes[1].public, half + 1, half)?,
    ];
    for crowd in &crowds {
        crowd.wait("snapshots", PATIENCE, |m| m.snapshots == half as u64)?;
    }
    let (mut workload, mut books) = (
        bench.workload(14, Users::InTurn(2 * half)),
        Books::default(),
    );
    let [mut same_p99, mut other_p99, mut medians, mut later] = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        crowds.iter().for_each(|crowd| crowd.begin());
        let part = workload.entries(rate * usize::try_from(seconds)?);
        let pace = (CONNECTIONS, Pace::PerSecond(rate as f64));
        bench.post_singles(cluster.nodes[0].internal, &part, pace, &mut |entry| {
            let at = usize::try_from(entry.user - 1).unwrap_or(0);
            crowds[at / half].expected().will_send(at % half, now_us());
        })?;
        books.note(&part);
        let each = |users: std::ops::Range<usize>| {
            let is_in = |user: i64| usize::try_from(user).is_ok_and(|user| users.contains(&user));
            part.iter().filter(|entry| is_in(entry.user)).count() as u64
        };
        crowds[0].wait("pushes at the node", PATIENCE, |m| {
            m.direct >= each(1..half + 1)
        })?;
        crowds[1].wait("pushes at the other node", PATIENCE, |m| {
            m.direct >= each(half + 1..2 * half + 1)
        })?;
        let [same, other] = [&crowds[0], &crowds[1]].map(|crowd| {
            let measures = crowd.measures();
            [0.5, 0.99].map(|part| ms(&measures.commit_to_frame, part))
        });
        same_p99.push(same[1]);
        other_p99.push(other[1]);
        medians.push(other[0]);
        later.push(other[1] - same[1]);
        bar.inc(1);
    }
    for crowd in crowds {
        bench.check_crowd(&crowd, &books);
        crowd.close()?;
    }
    for node in &cluster.nodes {
        let told = node.cluster()?;
        bench.report.check(
            || format!("each node has heard everything, but: {told}"),
            told["covered"] == true,
        );
    }
    bench.check_books(&cluster.nodes[2], &books)?;
    cluster.finish(bench)?;
    bar.finish();
    let figures = [
        (
            "commit at a node → frame at another, median",
            median(&medians),
            Gate::AtMost(2.0),
        ),
        ("the same, p99", median(&other_p99), Gate::None),
        (
            "commit → frame at the same node, p99",
            median(&same_p99),
            Gate::None,
        ),
        (
            "how much later it is at another node, p99",
            median(&later),
            Gate::AtMost(LATER_MS),
        ),
    ];
    let figures = figures.map(|(what, value, gate)| Figure::new(RUN, what, value, "ms").gate(gate));
    bench.report.figures.extend(figures);
    Ok(())
}
