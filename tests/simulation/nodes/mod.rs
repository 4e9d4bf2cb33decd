//! Three nodes in virtual time: the real registries, actors, sessions, trackers and exchanges over one PostgreSQL and one
//! bus, both simulated.
//!
//! Entries, sessions and questions go to any node, and users move. What goes wrong is in [`faults`], what a seed has of it
//! in [`plan`]: most seeds have one kind, and are judged by its bound. [`oracle`] says what has to hold.
//!
//! ```text
//! cargo test --test simulation nodes::                                 # fixed and new seeds, the planted faults
//! SIM_SEED=1234567 SIM_SEEDS=2000 cargo test --test simulation nodes_hold
//! SIM_SEED=42 cargo test --test simulation one_history -- --nocapture  # one seed, with its log
//! ```

mod bus;
mod faults;
mod history;
mod node;
mod oracle;
mod plan;
mod session;
mod store;

use balance_coordinator::clock::Clock;
use balance_coordinator::planted::{self, Plant};

use crate::harness::{Report, Simulation, all_are_caught, in_virtual_time};
use crate::world::WALL_START_US;
use history::History;
use oracle::NodesOracle;
use plan::Plan;

/// Nodes of a history.
pub const NODES: usize = 3;

/// What is done before calm.
pub const STEPS: usize = 150;

/// Seeds that are run every time, and new ones.
const FIXED: u64 = 100;
const NEW: u64 = 50;

const NODES_SIMULATION: Simulation = Simulation {
    run: |seed| run(seed, None),
    seeds_test: "nodes_hold",
    one_test: "one_history",
};

fn run(seed: u64, plant: Option<Plant>) -> Report {
    planted::plant(plant);
    let (oracle, panics) = in_virtual_time(async {
        let plan = Plan::of(seed);
        let oracle = NodesOracle::new(Clock::virtual_from(WALL_START_US), plan.clone());
        History::new(oracle.clone(), seed, plan).run().await;
        oracle
    });
    planted::plant(None);
    if panics > 0 {
        oracle.violation(&format!("{panics} panics"));
    }
    oracle.conclude()
}

#[test]
fn nodes_hold() {
    NODES_SIMULATION.holds(FIXED, NEW);
}

#[test]
fn one_history() {
    NODES_SIMULATION.one_holds();
}

#[test]
fn the_same_seed_gives_the_same_history() {
    NODES_SIMULATION.repeats(8, STEPS);
}

#[test]
fn every_planted_fault_of_nodes_is_caught() {
    all_are_caught(&Plant::OF_NODES, |seed, plant| run(seed, Some(plant)));
}
