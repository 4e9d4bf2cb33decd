//! Several nodes on one PostgreSQL and one NATS server, all on this machine: what they do for each other, and what it costs
//! beside a node alone. docs/scaling.md says what the figures mean for more machines than one.

mod cluster;
mod cost;
mod frames;
mod killed;
mod routing;

use crate::Result;
use crate::bench::Bench;

const RUN: &str = "nodes";

pub fn run(bench: &mut Bench) -> Result<()> {
    frames::run(bench)?;
    killed::run(bench)?;
    cost::run(bench)?;
    routing::run(bench)
}
