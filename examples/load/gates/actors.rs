//! The memory of a resident actor without a session: balances of many users are read and stay in
//! memory.

use std::time::Duration;

use serde_json::json;

use crate::Result;
use crate::bench::Bench;
use crate::client::http::{self, Pace};
use crate::report::{Figure, Gate};
use crate::system::proc;

const RUN: &str = "actors";
const WARM: usize = 1_000;
const IN_FLIGHT: usize = 64;
const SETTLE: Duration = Duration::from_secs(2);

pub fn run(bench: &mut Bench) -> Result<()> {
    let actors = bench.size(bench.options.entries, 200_000, 5_000);
    let bar = bench.bar(RUN, 2);
    let database = bench.sqlite()?;
    let settings = [
        ("cache.max_entries", (actors + WARM).to_string()),
        ("cache.ttl_s", "86400".to_owned()),
    ];
    let mut service = bench.launch(RUN, &settings).start(&database)?;
    let pid = service.pid().ok_or("the bench has started it")?;
    let mut ask = |from: usize, count: usize| -> Result<()> {
        let requests = (from..from + count).map(|user| {
            bench.signer.request(
                "GET",
                &format!("/internal/v1/users/{user}/balance"),
                "load",
                b"",
            )
        });
        let outcome = http::run(
            service.internal,
            IN_FLIGHT,
            Pace::AsAnswered,
            requests,
            &mut |_| {},
        )?;
        bench.report.check(
            || format!("all are answered, but {:?}", outcome.statuses),
            outcome.is_clean(),
        );
        Ok(())
    };
    ask(1, WARM)?;
    std::thread::sleep(SETTLE);
    let before = proc::pss_bytes(pid)?;
    bar.inc(1);
    ask(1 + WARM, actors)?;
    std::thread::sleep(SETTLE);
    let after = proc::pss_bytes(pid)?;
    bar.inc(1);
    let resident = service.registry()?["actors"].clone();
    bench.report.check(
        || format!("all are resident, but {resident}"),
        resident == json!(actors + WARM),
    );
    bench.finish(&mut service)?;
    bar.finish();
    let each = (after as f64 - before as f64) / actors as f64;
    let figure = Figure::new(
        RUN,
        "memory of a resident actor without a session (PSS)",
        each,
        "bytes",
    );
    bench.report.figures.push(figure.gate(Gate::AtMost(1536.0)));
    Ok(())
}
