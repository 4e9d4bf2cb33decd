//! Several nodes, and the bus between them: a real NATS server (`.ci/nats` starts it) behind a relay of the tests' own.
//!
//! Bounds of time are proved by the tracker's own tests, in virtual time. Here it is shown that a fault of the bus is noticed
//! at all, whatever the client library says, and that everything is right again afterwards.

#[path = "../support/mod.rs"]
mod support;

mod bus_faults;
mod nodes;
mod permissions;
