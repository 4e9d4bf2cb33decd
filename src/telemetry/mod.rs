//! How the service tells what it does: the log, and what is counted and measured.
//!
//! Owns the log's format and the numbers. Knows no other part of the program.

pub mod counters;
pub mod log;
mod log_writer;
mod process;
pub mod snapshot;
