//! What both simulations do with a seed: run the fixed ones and new ones, run one again, run it twice, plant faults.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use actix_rt::System;

/// New seeds are not among the fixed ones.
const NEW_FROM: u32 = 1_000_000;

/// Within so many seeds a planted fault has to be caught.
const SEEDS_MAX: u64 = 200;

/// What is counted in a run, by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    pub log: String,
    pub violations: Vec<String>,
    pub counts: Counts,
}

/// A simulation, and the names of the tests that run its seeds.
pub struct Simulation {
    pub run: fn(u64) -> Report,
    pub seeds_test: &'static str,
    pub one_test: &'static str,
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Runs a history in virtual time. Returns what it returns, and how many panics there were that were not planned: those
/// of tasks and actors are caught by the runtime, and would be seen by nothing else.
pub fn in_virtual_time<T>(history: impl Future<Output = T>) -> (T, u32) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&"planned") {
                PANICS.set(PANICS.get() + 1);
                usual(panic);
            }
        }));
    });
    PANICS.set(0);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        builder.build().expect("a runtime")
    };
    let system = System::with_tokio_rt(runtime);
    let result = system.block_on(history);
    drop(system);
    (result, PANICS.get())
}

/// A number from the environment.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}: not a number"))
    })
}

impl Simulation {
    /// How a failing seed is run again.
    pub fn explain(&self, seed: u64, report: &Report) -> String {
        let found = report.violations.iter().take(5);
        let found: String = found.map(|line| format!("\n  {line}")).collect();
        format!(
            "seed {seed}:{found}\n  again: SIM_SEED={seed} cargo test --test simulation {} -- --nocapture",
            self.one_test
        )
    }

    /// Runs the fixed seeds and so many new ones, from `SIM_SEED` and `SIM_SEEDS` if these are given. None may fail.
    pub fn holds(&self, fixed: u64, new: u64) -> Counts {
        let new = number("SIM_SEEDS").unwrap_or(new);
        let first =
            number("SIM_SEED").unwrap_or_else(|| rand::random_range(NEW_FROM..=u32::MAX).into());
        let test = self.seeds_test;
        let repeat =
            format!("SIM_SEED={first} SIM_SEEDS={new} cargo test --test simulation {test}");
        println!("{fixed} fixed seeds, and {new} new ones from {first}; again: {repeat}");
        let totals = Mutex::new((Counts::new(), Vec::new()));
        let start = std::time::Instant::now();
        on_all_cores(fixed + new, |index| {
            let seed = index
                .checked_sub(fixed)
                .map_or(index, |index| first + index);
            let report = (self.run)(seed);
            let (counts, failed) = &mut *totals.lock().expect("no panic holds it");
            for (name, count) in &report.counts {
                *counts.entry(name).or_default() += count;
            }
            *counts.entry("seeds").or_default() += 1;
            if !report.violations.is_empty() {
                failed.push(self.explain(seed, &report));
            }
        });
        let (counts, failed) = totals.into_inner().expect("no panic holds it");
        println!(
            "{counts:?}, {} failed, in {:?}",
            failed.len(),
            start.elapsed()
        );
        assert!(failed.is_empty(), "{}\nall: {repeat}", failed.join("\n"));
        counts
    }

    /// Runs the seed of `SIM_SEED`, or 0, and shows its log if it was asked for.
    pub fn one_holds(&self) {
        let asked = number("SIM_SEED");
        let seed = asked.unwrap_or(0);
        let report = (self.run)(seed);
        if asked.is_some() {
            println!("{}", report.log);
        }
        assert!(
            report.violations.is_empty(),
            "{}",
            self.explain(seed, &report)
        );
    }

    /// The same seed gives the same log, byte for byte, of more than so many lines.
    pub fn repeats(&self, seeds: u64, lines: usize) {
        for seed in 0..seeds {
            let (first, second) = ((self.run)(seed).log, (self.run)(seed).log);
            let differ = first.lines().zip(second.lines()).find(|(a, b)| a != b);
            assert_eq!(differ, None, "seed {seed}");
            assert_eq!(first.len(), second.len(), "seed {seed}");
            assert!(
                first.lines().count() > lines,
                "seed {seed}: the log tells what happened"
            );
        }
    }
}

/// Every planted fault is caught within a few seeds.
pub fn all_are_caught<F: Copy + Debug + Send + Sync>(
    faults: &[F],
    run: impl Fn(u64, F) -> Report + Sync,
) {
    let missed = Mutex::new(Vec::new());
    on_all_cores(faults.len() as u64, |index| {
        let fault = faults[index as usize];
        let violation = |seed| run(seed, fault).violations.into_iter().next();
        match (0..SEEDS_MAX).find_map(|seed| Some((seed, violation(seed)?))) {
            Some((seed, violation)) => println!("{fault:?}: caught by seed {seed}, {violation}"),
            None => missed.lock().expect("no panic holds it").push(fault),
        }
    });
    let missed = missed.into_inner().expect("no panic holds it");
    assert!(
        missed.is_empty(),
        "not caught within {SEEDS_MAX} seeds: {missed:?}"
    );
}

/// Does something for each number below `count`, each on one thread.
fn on_all_cores(count: u64, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    each(index);
                }
            });
        }
    });
}
