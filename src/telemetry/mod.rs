//! How the service tells what it does: the log.
//!
//! Owns the log's format. Knows no other part of the program.

pub mod log;
