//! Paced pushes to 19,500 sessions, one reward per user in 5 s: their lateness.

use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::client::entries::{Books, Users, Workload};
use crate::client::http::Pace;
use crate::measure::ms;
use crate::report::{Figure, Gate};
use crate::system::proc;

const RUN: &str = "paced";
/// Between two rewards of a user.
const PERIOD_S: usize = 5;
const REQUESTS_PER_S: usize = 100;
const CONNECTIONS: usize = 16;

pub fn run(bench: &mut Bench) -> Result<()> {
    let sessions = bench.size(bench.options.sessions, 19_500, 500);
    let seconds = bench.size(bench.options.seconds, 30, 5);
    let bar = bench.bar(RUN, 2);
    let database = bench.sqlite()?;
    let mut service = bench.launch(RUN, &[]).start(&database)?;
    let pid = service.pid().ok_or("the bench has started it")?;
    let crowd = bench.crowd(service.public, sessions)?;
    crowd.wait("snapshots", PATIENCE, |m| m.snapshots == sessions as u64)?;
    bar.inc(1);
    crowd.begin();
    let per_s = sessions / PERIOD_S;
    let (batch, mut books) = (per_s.div_ceil(REQUESTS_PER_S), Books::default());
    let rewards =
        Workload::new(9, Users::InTurn(sessions)).entries(per_s * usize::try_from(seconds)?);
    let cpu_before = proc::cpu_s(pid)?;
    let way = (CONNECTIONS, Pace::PerSecond(per_s as f64 / batch as f64));
    let outcome = bench.post_batches(&service, "reward", &rewards, batch, way)?;
    books.note(&rewards);
    let last = |index: usize| books.user(i64::try_from(index + 1).unwrap_or(i64::MAX)).0;
    let told = |versions: &[i64]| {
        versions
            .iter()
            .enumerate()
            .all(|(index, version)| *version == last(index))
    };
    crowd.wait("the last pushes", PATIENCE, |m| told(&m.versions))?;
    let cpu_s = proc::cpu_s(pid)? - cpu_before;
    bench.check_crowd(&crowd, &books);
    bench.check_books(&service, &books)?;
    let (lateness, push_to_frame, pushes) = {
        let measures = crowd.measures();
        (
            measures.paced_lateness.clone(),
            measures.paced_push_to_frame.clone(),
            measures.paced,
        )
    };
    crowd.close()?;
    bench.finish(&mut service)?;
    bar.finish();
    let figures = &mut bench.report.figures;
    figures.push(
        Figure::new(
            RUN,
            "lateness of a paced push p99",
            ms(&lateness, 0.99),
            "ms",
        )
        .gate(Gate::AtMost(50.0)),
    );
    figures.push(Figure::new(
        RUN,
        "lateness of a paced push, median",
        ms(&lateness, 0.5),
        "ms",
    ));
    figures.push(Figure::new(
        RUN,
        "paced pushes",
        pushes as f64 / seconds as f64,
        "/s",
    ));
    let per_1000 = cpu_s / pushes.max(1) as f64 * 1000.0;
    figures.push(Figure::new(
        RUN,
        "processor seconds for 1,000 rewards with a push",
        per_1000,
        "s",
    ));
    let latencies = &mut bench.report.latencies;
    latencies.push((format!("{RUN}/lateness"), lateness));
    latencies.push((format!("{RUN}/push → frame"), push_to_frame));
    latencies.push((format!("{RUN}/answer"), outcome.latencies));
    Ok(())
}
