//! Other nodes of the same ledger: what they commit comes in, what this node commits goes out, over NATS.
//!
//! The bus is only the fast path, and may lose, double, delay and reorder everything. The truth is the ledger's: whenever
//! this node cannot be sure that it has heard everything, it stops trusting its memory and compares it with the ledger.
//! Knows no SQL and no HTTP. Without `cluster.url` only [`presence`] runs, and on SQLite nothing.
//!
//! | file | owns |
//! | --- | --- |
//! | [`wire`] | the messages |
//! | [`tracker`] | what this node has heard, and what it therefore does: pure |
//! | [`presence`] | this node's row in the ledger, and the others' |
//! | [`publisher`] | the queue from the ledger's writers to the bus |
//! | [`exchange`] | the loop that sends, hears and obeys the tracker |
//! | [`bus`], [`nats`] | what is needed of a bus, and NATS |
//! | [`running`], [`view`] | the thread, and what comes in and out of it |
//! | [`orders`], [`carrying`] | orders of administrators to all nodes, and what they do at each |
//! | [`joined`], [`overview`] | the same for a whole process, and what administrators see |
//!
//! Start reading at [`tracker`].

pub mod bus;
pub mod carrying;
pub mod exchange;
pub mod joined;
pub mod nats;
pub mod orders;
pub mod overview;
pub mod presence;
pub mod publisher;
pub mod running;
pub mod tracker;
pub mod view;
pub mod wire;
