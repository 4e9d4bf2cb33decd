//! One run: a seed, and perhaps a planted fault.

use balance_coordinator::clock::Clock;
use balance_coordinator::planted;

use super::OPERATIONS;
use super::driver::Driver;
use super::harness::{Report, in_virtual_time};
use super::ledger::SimLedger;
use super::network::Network;
use super::plants::Fault;
use super::random::Chance;
use super::world::{WALL_START_US, World};

/// Runs a seed to its end.
pub fn run(seed: u64, fault: Option<Fault>) -> Report {
    let (in_service, in_ledger) = match fault {
        None => (None, None),
        Some(Fault::Service(plant)) => (Some(plant), None),
        Some(Fault::Ledger(plant)) => (None, Some(plant)),
    };
    planted::plant(in_service);
    let (world, panics) = in_virtual_time(async {
        let world = World::new(Clock::virtual_from(WALL_START_US));
        let ledger = SimLedger::start(world.clone(), seed, in_ledger);
        let mut chance = Chance::new(seed, 0);
        let network = Network::start(world.clone(), ledger, &mut chance);
        let mut driver = Driver::new(network, seed, chance);
        driver.trouble().await;
        driver.calm().await;
        world
    });
    planted::plant(None);
    let log = world.log();
    let oracle = &mut world.lock().oracle;
    let mut violations = std::mem::take(&mut oracle.violations);
    if panics > 0 {
        violations.push(format!("{panics} panics that were not planned"));
    }
    let counts = [
        ("operations", OPERATIONS as u64),
        ("commits", oracle.books.len() as u64),
        ("frames", oracle.frames),
    ];
    Report {
        log,
        violations,
        counts: counts.into(),
    }
}
