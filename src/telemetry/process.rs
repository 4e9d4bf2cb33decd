//! What the system says of this process, under the names that Prometheus' libraries share.

use procfs::process::{LimitValue, Process};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// Asks the system when it is collected.
#[derive(Debug, Clone)]
pub(super) struct ProcessCollector {
    cpu_seconds: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_bytes: Gauge,
    resident_bytes: Gauge,
    start_time: Gauge,
    threads: Gauge,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let gauge = |name: &str, help: &str| Gauge::new(name, help).expect("the name is valid");
        let cpu = Counter::new(
            "process_cpu_seconds_total",
            "User and system time spent, in seconds.",
        );
        Self {
            cpu_seconds: cpu.expect("the name is valid"),
            open_fds: gauge("process_open_fds", "Open files and sockets."),
            max_fds: gauge("process_max_fds", "Files and sockets that may be open."),
            virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory, in bytes."),
            resident_bytes: gauge(
                "process_resident_memory_bytes",
                "Resident memory, in bytes.",
            ),
            start_time: gauge(
                "process_start_time_seconds",
                "When the process was started: Unix time.",
            ),
            threads: gauge("process_threads", "Threads of the process."),
        }
    }

    fn all(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu_seconds,
            &self.open_fds,
            &self.max_fds,
            &self.virtual_bytes,
            &self.resident_bytes,
            &self.start_time,
            &self.threads,
        ]
    }

    /// Without /proc everything stays as it is.
    fn ask(&self) -> procfs::ProcResult<()> {
        let process = Process::myself()?;
        self.open_fds.set(process.fd_count()? as f64);
        self.max_fds
            .set(match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(max) => max as f64,
                LimitValue::Unlimited => f64::INFINITY,
            });
        let stat = process.stat()?;
        let ticks_per_s = procfs::ticks_per_second() as f64;
        let cpu_seconds = (stat.utime + stat.stime) as f64 / ticks_per_s;
        // Two who ask at the same time may find that the other was faster.
        self.cpu_seconds
            .inc_by((cpu_seconds - self.cpu_seconds.get()).max(0.0));
        self.virtual_bytes.set(stat.vsize as f64);
        self.resident_bytes
            .set((stat.rss * procfs::page_size()) as f64);
        self.threads.set(stat.num_threads as f64);
        self.start_time
            .set(procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks_per_s);
        Ok(())
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Err(error) = self.ask() {
            ::log::debug!("the system says nothing of this process: {error}");
        }
        self.all()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}
