//! The nodes under load, on a database of their own.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::system::database::Database;
use crate::system::service::Service;

/// Some nodes, and their database.
pub struct Cluster {
    pub nodes: Vec<Service>,
    pub database: Database,
}

impl Cluster {
    /// Starts them on an empty ledger, and waits until each has heard of all others.
    pub fn start(bench: &Bench, count: usize) -> Result<Self> {
        Self::start_on(bench, empty(bench)?, count, &[])
    }

    /// The same on this ledger, with further settings.
    pub fn start_on(
        bench: &Bench,
        database: Database,
        count: usize,
        further: &[(&'static str, String)],
    ) -> Result<Self> {
        let bus = bench.options.nats.clone().ok_or("--nats is not given")?;
        // The name of the database, because each cluster has its own.
        let url = database.url();
        let name = url.rsplit('/').next().unwrap_or("load");
        let nodes = (1..=count)
            .map(|n| {
                let own = [
                    ("cluster.url", bus.clone()),
                    ("cluster.name", name.to_owned()),
                    ("cluster.node", format!("n{n}")),
                ];
                let settings = [&own, further].concat();
                bench
                    .launch(&format!("nodes-{n}"), &settings)
                    .start(&database)
            })
            .collect::<Result<Vec<_>>>()?;
        let cluster = Self { nodes, database };
        cluster.wait_until_covered()?;
        Ok(cluster)
    }

    fn wait_until_covered(&self) -> Result<()> {
        let others = self.nodes.len() - 1;
        let start = Instant::now();
        for node in &self.nodes {
            loop {
                let told = node.cluster()?;
                let known = told["nodes"].as_array().map_or(0, Vec::len);
                if told["covered"] == true && known >= others {
                    break;
                }
                if start.elapsed() > PATIENCE {
                    return Err(format!("a node is not covered: {told}").into());
                }
                sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Stops all of them, and audits the ledger.
    pub fn finish(&mut self, bench: &mut Bench) -> Result<()> {
        let (last, first) = self.nodes.split_last_mut().ok_or("there are nodes")?;
        for node in first {
            let stopped = node.stop();
            bench.report.check(
                || format!("a node stops well, but: {stopped:?}"),
                stopped.is_ok(),
            );
        }
        bench.finish(last)?;
        Ok(())
    }
}

/// An empty database.
pub fn empty(bench: &Bench) -> Result<Database> {
    let server = bench.options.postgres.as_deref();
    Database::postgres(server.ok_or("--postgres is not given")?)
}
