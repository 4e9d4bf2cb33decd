//! Whether the ledger answers, and whether the processes of a cluster hear of each other.

use serde_json::json;

use super::Severity::{High, Medium};
use super::service::Seen;
use super::thresholds::{CLUSTER_SKEW_S, CLUSTER_STALE_S, QUEUE_SHARE};
use super::{Finding, counted};

pub(super) fn ledger(seen: &Seen, found: &mut Vec<Finding>) {
    if seen.ledger["is_away"] == true {
        let mut finding = Finding::new(
            "ledger_away",
            High,
            "The ledger does not answer",
            "the latest read or commit has failed because the database could not be reached",
            "Look at the database and the way to it. Webhooks are answered 503 and are sent again; pages show their last balance.",
        );
        finding.since = seen.ledger["since"].as_str().map(str::to_owned);
        found.push(finding);
    }
    let waiting = ["queue_single", "queue_bulk"].map(|lane| seen.registry[lane].as_u64());
    let waiting = waiting.into_iter().flatten().sum::<u64>();
    let limit = seen.queue_limit;
    if limit > 0 && waiting as f64 > QUEUE_SHARE * limit as f64 {
        let finding = Finding::new(
            "queue_full",
            High,
            "The ledger's queue is nearly full",
            format!("{waiting} of {limit} entries wait"),
            "The database is too slow or hangs; further webhooks are answered 503 and are sent again.",
        );
        found.push(finding.with(json!({ "waiting": waiting, "limit": limit })));
    }
}

pub(super) fn cluster(seen: &Seen, found: &mut Vec<Finding>) {
    let nodes = seen.cluster["nodes"].as_array();
    let nodes = nodes.map(Vec::as_slice).unwrap_or_default();
    if seen.cluster["covered"] == false {
        let finding = Finding::new(
            "cluster_not_covered",
            Medium,
            "This process does not hear of everything that others commit",
            format!(
                "connected to the bus: {}; {}",
                if seen.cluster["connected"] == true {
                    "yes"
                } else {
                    "no"
                },
                counted(nodes.len() as u64, "other node")
            ),
            "Balances are read from the ledger meanwhile. Look at NATS and at GET /admin/v1/cluster.",
        );
        found.push(
            finding.with(json!({ "connected": seen.cluster["connected"], "others": nodes.len() })),
        );
    }
    let foreign: Vec<&str> = nodes
        .iter()
        .filter(|node| seen.has_bus && node["has_bus"] == false)
        .filter_map(|node| node["node"].as_str())
        .collect();
    if !foreign.is_empty() {
        let finding = Finding::new(
            "cluster_foreign_process",
            High,
            "A process without the bus is on the same ledger",
            foreign.join(", "),
            "Give it cluster.url, or stop it: the others do not hear of what it commits.",
        );
        found.push(finding.with(json!({ "nodes": foreign })));
    }
    for (code, name, limit, what, next_step) in [
        (
            "cluster_stale",
            "balance_cluster_verified_age_seconds",
            CLUSTER_STALE_S,
            "Versions were not checked against the ledger for long",
            "The check reads the ledger; look at the database.",
        ),
        (
            "cluster_skew",
            "balance_cluster_clock_skew_seconds",
            CLUSTER_SKEW_S,
            "The clock of this machine differs from the database's",
            "Keep the clocks in step (chrony, systemd-timesyncd).",
        ),
    ] {
        let value = seen.metrics.sum(name, &[]).abs();
        if value > limit {
            let finding = Finding::new(
                code,
                Medium,
                what,
                format!("{name} is {value:.3}"),
                next_step,
            );
            found.push(finding.with(json!({ "seconds": value, "limit": limit })));
        }
    }
}
