//! One run: a seed, and perhaps a planted fault.

use std::cell::Cell;
use std::sync::Once;

use actix_rt::System;
use balance_coordinator::clock::Clock;
use balance_coordinator::planted;

use super::OPERATIONS;
use super::driver::Driver;
use super::ledger::SimLedger;
use super::network::Network;
use super::plants::Fault;
use super::random::Chance;
use super::world::{WALL_START_US, World};

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    pub log: String,
    pub violations: Vec<String>,
    pub operations: u64,
    pub commits: u64,
    pub frames: u64,
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Panics that nobody planned are counted; those of actors that are made to die are not worth a line.
fn watch_panics() {
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
}

/// Runs a seed to its end.
pub fn run(seed: u64, fault: Option<Fault>) -> Report {
    watch_panics();
    PANICS.set(0);
    let (in_service, in_ledger) = match fault {
        None => (None, None),
        Some(Fault::Service(plant)) => (Some(plant), None),
        Some(Fault::Ledger(plant)) => (None, Some(plant)),
    };
    planted::plant(in_service);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime")
    };
    let system = System::with_tokio_rt(runtime);
    let world = system.block_on(async {
        let world = World::new(Clock::virtual_from(WALL_START_US));
        let ledger = SimLedger::start(world.clone(), seed, in_ledger);
        let mut chance = Chance::new(seed, 0);
        let network = Network::start(world.clone(), ledger, &mut chance);
        let mut driver = Driver::new(network, seed, chance);
        driver.trouble().await;
        driver.calm().await;
        world
    });
    drop(system);
    planted::plant(None);
    let log = world.log();
    let oracle = &mut world.lock().oracle;
    let mut violations = std::mem::take(&mut oracle.violations);
    if PANICS.get() > 0 {
        violations.push(format!("{} panics that nobody planned", PANICS.get()));
    }
    let (commits, frames) = (oracle.books.len() as u64, oracle.frames);
    Report {
        log,
        violations,
        operations: OPERATIONS as u64,
        commits,
        frames,
    }
}
