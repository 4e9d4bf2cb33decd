//! The log, and the counters and measurements.
//!
//! Owns the log's format and the metrics. Knows no other part of the program but the clock, the limits and the
//! platform.

pub mod counters;
pub mod log;
mod log_writer;
mod process;
pub mod seldom;
pub mod snapshot;
