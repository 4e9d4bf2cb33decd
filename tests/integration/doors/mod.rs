//! Every endpoint under missing and forged credentials: a refused request changes nothing and learns nothing.
//!
//! The forgeries are made from a seed that is printed; `BALANCE_TEST_SEED=<seed> cargo test --test integration doors`
//! makes the same ones again, and `BALANCE_TEST_FORGERIES=<n>` makes more of them.

mod bench;
mod claim_forgeries;
mod credentials;
mod development;
mod forge;
mod listeners;
pub mod routes;
mod secrets;
mod signature_forgeries;
mod signatures;
mod source;
mod token_forgeries;
mod tokens;
