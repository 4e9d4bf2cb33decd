//! Every endpoint under missing and forged credentials: a refused request changes nothing and learns nothing.
//!
//! Half of the forgeries are new in each run. Their seed is printed;
//! `BALANCE_TEST_SEED=<seed> cargo test --test integration doors` repeats them, and
//! `BALANCE_TEST_FORGERIES=<n>` makes more.

mod bench;
mod claim_forgeries;
mod credentials;
mod development;
mod forge;
pub mod listeners;
pub mod routes;
mod secrets;
mod signature_forgeries;
mod signatures;
mod source;
mod token_forgeries;
mod tokens;
mod transport;
