//! Faults: SIGKILL under load, a database that refuses single entries, and databases that go away in every way.
//!
//! Every run prints its seed; `BALANCE_TEST_SEED=<seed> cargo test --test faults` runs the same loads and kills again
//! (the machine's own timing is not part of the seed).

#[path = "../support/mod.rs"]
mod support;

mod kills;
mod outages;
mod poison;
