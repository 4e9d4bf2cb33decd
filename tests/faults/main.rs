//! Faults: SIGKILL under load, a database that refuses single entries, and hostile peers.
//!
//! Every run prints its seed; `BALANCE_TEST_SEED=<seed> cargo test --test faults` runs the same loads and kills again
//! (the machine's own timing is not part of the seed).

#[path = "../support/mod.rs"]
mod support;

mod hostile;
mod kills;
mod poison;
