//! Faults: SIGKILL under load, and a database that refuses single entries.
//!
//! Every run prints its seed; `BALANCE_TEST_SEED=<seed> cargo test --test faults` runs the same loads and kills again
//! (the machine's own timing is not part of the seed).

#[path = "../support/mod.rs"]
mod support;

mod kills;
mod poison;
