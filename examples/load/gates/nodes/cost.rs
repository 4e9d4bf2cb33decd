//! What the bus costs a node: entries a second, processor for an entry, memory of a session, and an idle node. The node with
//! the bus and the one without take turns, each on a database of its own.

use std::thread::sleep;
use std::time::Duration;

use crate::Result;
use crate::bench::Bench;
use crate::client::entries::Users;
use crate::client::http::Pace;
use crate::gates::idle;
use crate::measure::median;
use crate::report::{Figure, Gate};
use crate::system::proc;

use super::RUN;
use super::cluster::{Cluster, empty};

const USERS: usize = 10_000;
const BATCH: usize = 5_000;
const IN_FLIGHT: usize = 4;

pub fn run(bench: &mut Bench) -> Result<()> {
    let entries = bench.size(bench.options.entries, 100_000, 5_000);
    let rounds = bench.size(bench.options.rounds, 5, 1);
    let sessions = bench.size(bench.options.sessions, 10_000, 200);
    let idle_for = Duration::from_secs(bench.size(None, 20, 1));
    let bar = bench.bar("nodes cost", rounds + 2);
    let mut on = Cluster::start(bench, 1)?;
    let database = empty(bench)?;
    let mut off = bench.launch("nodes-off", &[]).start(&database)?;
    let pids = [&off, &on.nodes[0]].map(crate::system::service::Service::pid);
    let [Some(off_pid), Some(on_pid)] = pids else {
        return Err("the bench has started both".into());
    };

    let cpu_before = proc::cpu_s(on_pid)?;
    sleep(idle_for);
    let idle_percent = (proc::cpu_s(on_pid)? - cpu_before) * 100.0 / idle_for.as_secs_f64();
    bar.inc(1);

    let mut workload = bench.workload(16, Users::Random(USERS));
    let [mut rates, mut rates_off, mut each, mut each_off] = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        let part = workload.entries(entries);
        for (service, pid, rates, each) in [
            (&off, off_pid, &mut rates_off, &mut each_off),
            (&on.nodes[0], on_pid, &mut rates, &mut each),
        ] {
            let cpu_before = proc::cpu_s(pid)?;
            let way = (IN_FLIGHT, Pace::AsAnswered);
            let outcome = bench.post_batches(service, "reward", &part, BATCH, way)?;
            rates.push(part.len() as f64 / outcome.elapsed.as_secs_f64());
            each.push((proc::cpu_s(pid)? - cpu_before) * 1_000_000.0 / part.len() as f64);
        }
        bar.inc(1);
    }
    let off_kib = idle::memory_of(bench, off_pid, off.public, sessions, true)?.pss_kib;
    let on_kib = idle::memory_of(bench, on_pid, on.nodes[0].public, sessions, true)?.pss_kib;
    bar.inc(1);
    bench.finish(&mut off)?;
    on.finish(bench)?;
    bar.finish();

    let ratios = |with: &[f64], without: &[f64]| -> Vec<f64> {
        with.iter()
            .zip(without)
            .map(|(with, without)| with / without)
            .collect()
    };
    let mut rate = Figure::new(
        RUN,
        "durable entries/s of one node with the bus",
        median(&rates),
        "/s",
    )
    .beside("without", median(&rates_off))
    .gate(Gate::AtLeast(0.95));
    // The two of a round belong together.
    rate.ratio = Some(median(&ratios(&rates, &rates_off)));
    let mut cost = Figure::new(
        RUN,
        "processor for an entry, with the bus",
        median(&each),
        "µs",
    )
    .beside("without", median(&each_off))
    .gate(Gate::AtMost(1.10));
    cost.ratio = Some(median(&ratios(&each, &each_off)));
    let memory = Figure::new(
        RUN,
        "memory of an idle session (PSS), with the bus",
        on_kib,
        "KiB",
    )
    .beside("without", off_kib)
    .gate(Gate::AtMost(1.02));
    let idle =
        Figure::new(RUN, "an idle node, of one core", idle_percent, "%").gate(Gate::AtMost(0.5));
    bench.report.figures.extend([rate, cost, memory, idle]);
    Ok(())
}
