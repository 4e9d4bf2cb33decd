//! The log, and the counters and measurements.
//!
//! Owns the log's format and the metrics. Knows no other part of the program but the clock, the domain's ids, the
//! limits and the platform.

pub mod cluster;
pub mod counters;
pub mod log;
mod log_line;
mod log_writer;
mod maker;
mod process;
pub mod requests;
pub mod seldom;
pub mod snapshot;
