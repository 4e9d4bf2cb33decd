//! What one would take instead of the service, each for the part that it does, in the same run on the same machine. None of
//! these figures has a gate: the programs do different things, which `docs/performance.md` names.
//!
//! Needs `nginx` with nchan (Debian's `libnginx-mod-nchan`), and with `--postgres` also `pgbench`; `--nats` adds NATS.

mod nats;
mod nchan;
mod pgbench;

use crate::Result;
use crate::bench::Bench;

const RUN: &str = "peers";

pub fn run(bench: &mut Bench) -> Result<()> {
    nchan::run(bench)?;
    if let Some(bus) = bench.options.nats.clone() {
        nats::run(bench, &bus)?;
    }
    if let Some(server) = bench.options.postgres.clone() {
        pgbench::run(bench, &server)?;
    }
    Ok(())
}
