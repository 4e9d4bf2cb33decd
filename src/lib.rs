//! The map.
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod domain;
pub mod ledger;
pub mod limits;
pub mod telemetry;
