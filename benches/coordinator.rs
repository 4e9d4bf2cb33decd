//! Measures the way from the registry to an actor and back, and from an entry to a session's frame,
//! over a ledger that answers inline.
//!
//! `cargo bench --bench coordinator`

#[allow(dead_code, reason = "each bench uses a part of the rig")]
mod rig;

use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use rig::Rig;

fn round_trips(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coordinator");
    group.bench_function("ask for a balance in memory", |bencher| {
        bencher.iter_custom(|count| {
            rig::on_system(async {
                let rig = Rig::start();
                rig.ask(1).await;
                let start = Instant::now();
                for _ in 0..count {
                    rig.ask(1).await;
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("post an entry", |bencher| {
        bencher.iter_custom(|count| {
            rig::on_system(async {
                let mut rig = Rig::start();
                let start = Instant::now();
                for _ in 0..count {
                    rig.post(1).await;
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("post an entry and push it to a session", |bencher| {
        bencher.iter_custom(|count| {
            rig::on_system(async {
                let mut rig = Rig::start();
                let mut session = rig.open(1).await;
                let start = Instant::now();
                for _ in 0..count {
                    rig.post(1).await;
                    session.next().await;
                }
                start.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
