//! Other nodes of the same ledger: what they commit comes in, what this node commits goes out, over NATS.
//!
//! The bus is only the fast path, and may lose, double, delay and reorder everything. The truth is the ledger's: whenever
//! this node cannot be sure that it has heard everything, it stops trusting its memory and compares it with the ledger.
//! Knows no SQL and no HTTP. Without `cluster.url` only [`presence`] runs, and on SQLite nothing.
//!
//! Start reading at [`tracker`], which decides what this node knows; [`wire`] has the messages.

pub mod overview;
pub mod presence;
pub mod tracker;
pub mod wire;
