//! NATS: a message for each user's subject, from one connection to another, 2,000 a second. NATS keeps nothing and knows no
//! browsers; this is the least that a message costs between two processes.

use std::time::Duration;

use balance_coordinator::clock::rfc3339;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Result;
use crate::baselines::echo;
use crate::bench::Bench;
use crate::client::clock::now_us;
use crate::measure::{latencies, ms};
use crate::report::Figure;

use super::RUN;

const RATE: usize = 2_000;
const SUBJECTS: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(bench: &mut Bench, url: &str) -> Result<()> {
    let seconds = bench.size(bench.options.seconds, 10, 2);
    let rate = bench.size(None, RATE, 200);
    let count = rate * usize::try_from(seconds)?;
    let bar = bench.bar("peers NATS", 1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut heard = latencies();
    runtime.block_on(async {
        let (sender, receiver) = (
            async_nats::connect(url).await?,
            async_nats::connect(url).await?,
        );
        let mut messages = receiver.subscribe("load.peers.*").await?;
        receiver.flush().await?;
        let sending = tokio::spawn(async move {
            let start = Instant::now();
            for n in 0..count {
                let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
                sleep_until(due).await;
                // Not from when it was due: tokio's timer counts milliseconds.
                let sent_us = now_us();
                let body = format!("{sent_us} {}", echo::push(1, &rfc3339(sent_us), ""));
                let subject = format!("load.peers.{}", n % SUBJECTS);
                sender.publish(subject, body.into()).await?;
            }
            sender.flush().await?;
            Result::<()>::Ok(())
        });
        for _ in 0..count {
            let message = timeout(PATIENCE, messages.next()).await?;
            let body = message.ok_or("NATS has closed the subscription")?.payload;
            let stamp = body.split(|byte| *byte == b' ').next().unwrap_or_default();
            let sent_us: i64 = std::str::from_utf8(stamp)?.parse()?;
            heard.saturating_record(u64::try_from(now_us() - sent_us).unwrap_or(0));
        }
        sending.await?
    })?;
    bar.finish();
    let figures = [
        ("NATS: published → heard, median", 0.5),
        ("the same, p99", 0.99),
    ];
    let figures =
        figures.map(|(what, quantile)| Figure::new(RUN, what, ms(&heard, quantile), "ms"));
    bench.report.figures.extend(figures);
    Ok(())
}
