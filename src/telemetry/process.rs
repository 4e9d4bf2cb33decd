//! What the system says of this process, under the names that Prometheus' libraries share.
//!
//! `prometheus` has a collector of its own (feature `process`). It counts in whole numbers, so the rate of processor time
//! would be a staircase of whole seconds; it reports 0 as the limit of open files where there is none, which would
//! fire `BalanceFilesNearLimit`; and it needs Linux and an older `procfs`. So this one stays.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

use crate::platform::{self, ProcessFacts};

/// What a gauge shows of the facts.
type Shown = fn(&ProcessFacts) -> Option<f64>;

/// Names, texts and values of the gauges.
const GAUGES: [(&str, &str, Shown); 6] = [
    ("process_open_fds", "Open files and sockets.", |facts| {
        facts.open_files
    }),
    (
        "process_max_fds",
        "Files and sockets that may be open.",
        |facts| facts.open_files_max,
    ),
    (
        "process_virtual_memory_bytes",
        "Virtual memory, in bytes.",
        |facts| facts.virtual_bytes,
    ),
    (
        "process_resident_memory_bytes",
        "Resident memory, in bytes.",
        |facts| facts.resident_bytes,
    ),
    (
        "process_start_time_seconds",
        "When the process was started: Unix time.",
        |facts| facts.started_at_s,
    ),
    ("process_threads", "Threads of the process.", |facts| {
        facts.threads
    }),
];

/// Asks the system when it is collected. Metrics that the system does not tell are left out.
#[derive(Debug, Clone)]
pub(super) struct ProcessCollector {
    cpu_seconds: Counter,
    gauges: Vec<(Gauge, Shown)>,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let cpu = Counter::new(
            "process_cpu_seconds_total",
            "User and system time spent, in seconds.",
        );
        let gauge = |(name, help, shown)| {
            let gauge = Gauge::new::<&str, &str>(name, help);
            (gauge.expect("the name is valid"), shown)
        };
        Self {
            cpu_seconds: cpu.expect("the name is valid"),
            gauges: GAUGES.into_iter().map(gauge).collect(),
        }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        self.cpu_seconds.desc().into_iter().chain(gauges).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let facts = platform::process_facts().unwrap_or_else(|error| {
            ::log::debug!("the system says nothing of this process: {error}");
            ProcessFacts::default()
        });
        let mut families = Vec::new();
        if let Some(cpu_s) = facts.cpu_s {
            // Another thread that collects at the same time may have counted further.
            self.cpu_seconds
                .inc_by((cpu_s - self.cpu_seconds.get()).max(0.0));
            families.extend(self.cpu_seconds.collect());
        }
        for (gauge, shown) in &self.gauges {
            if let Some(value) = shown(&facts) {
                gauge.set(value);
                families.extend(gauge.collect());
            }
        }
        families
    }
}
