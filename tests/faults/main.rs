//! Faults: SIGKILL at any moment, a database that goes away in every way or refuses single entries, and money that is
//! moved and read through all of it, and hostile peers.
//!
//! Every run prints its seed; `BALANCE_TEST_SEED=<seed> cargo test --test faults` runs the same loads and kills again
//! (the machine's own timing is not part of the seed).

#[path = "../support/mod.rs"]
mod support;

mod bank;
mod crash_points;
mod database_away;
mod hostile;
mod linearizability;
mod load;
mod outages;
mod poison;
mod several_services;

/// The seed of every random test.
fn seed() -> u64 {
    size("BALANCE_TEST_SEED", 20_250_804)
}

/// A number that a longer run by hand sets by a variable.
fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .map_or(default, |value| value.parse().expect("a number"))
}
