//! nchan: nginx as a publisher of messages to WebSockets. 2,000 messages a second over 5,000 channels with a socket each, as
//! large as a push; then the same number of deposits through the service. nchan keeps messages in memory, and knows
//! neither users nor signatures nor balances; the service's figure contains the signature and a durable commit.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use balance_coordinator::clock::rfc3339;

use crate::Result;
use crate::baselines::{echo, server};
use crate::bench::{Bench, PATIENCE};
use crate::client::clock::now_us;
use crate::client::entries::{Books, Users};
use crate::client::http::{self, Pace};
use crate::measure::{median, ms};
use crate::report::Figure;
use crate::system::proc;
use crate::system::service::Process;

use super::RUN;

const RATE: usize = 2_000;
const CONNECTIONS: usize = 64;
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub fn run(bench: &mut Bench) -> Result<()> {
    let sessions = bench.size(bench.options.sessions, 5_000, 200);
    let seconds = bench.size(bench.options.seconds, 10, 2);
    let rounds = bench.size(bench.options.rounds, 3, 1);
    let rate = bench.size(None, RATE, 200);
    let count = rate * usize::try_from(seconds)?;
    let bar = bench.bar("peers nchan", 2 * rounds);
    let dir = tempfile::tempdir()?;
    let nginx = Nginx::start(dir.path())?;
    let idle = nginx.memory()?;
    let channels = bench.listeners(nginx.address, sessions);
    channels.wait("nchan's sockets", PATIENCE, |m| m.opened == sessions as u64)?;
    let nchan_bytes = (nginx.memory()? - idle) / sessions as f64;

    let database = bench.sqlite()?;
    let mut service = bench.launch("peers", &[]).start(&database)?;
    let pid = service.pid().ok_or("the bench has started it")?;
    let idle = proc::pss_bytes(pid)?;
    let crowd = bench.crowd(service.public, sessions)?;
    crowd.wait("snapshots", PATIENCE, |m| m.snapshots == sessions as u64)?;
    let our_bytes = (proc::pss_bytes(pid)? - idle) as f64 / sessions as f64;

    let (mut workload, mut books) = (
        bench.workload(18, Users::InTurn(sessions)),
        Books::default(),
    );
    let [mut their_median, mut their_p99, mut our_median, mut our_p99] = [const { Vec::new() }; 4];
    for round in 0..rounds {
        channels.begin();
        let from = round * count;
        let messages = (from..from + count).map(|n| message(n, sessions));
        let pace = Pace::PerSecond(rate as f64);
        let outcome = http::run(nginx.address, CONNECTIONS, pace, messages, &mut |_| {})?;
        let statuses = &outcome.statuses;
        let are_taken = statuses.keys().all(|status| matches!(status, 201 | 202));
        bench.report.check(
            || format!("nchan takes all messages: {statuses:?}"),
            are_taken,
        );
        channels.wait("nchan's messages", PATIENCE, |m| m.direct >= count as u64)?;
        their_median.push(ms(&channels.measures().commit_to_frame, 0.5));
        their_p99.push(ms(&channels.measures().commit_to_frame, 0.99));
        bar.inc(1);

        crowd.begin();
        let part = workload.entries(count);
        bench.post_singles(service.internal, &part, (CONNECTIONS, pace), &mut |entry| {
            let at = usize::try_from(entry.user - 1).unwrap_or(0);
            crowd.expected().will_send(at, now_us());
        })?;
        books.note(&part);
        crowd.wait("pushes", PATIENCE, |m| m.direct >= count as u64)?;
        our_median.push(ms(&crowd.measures().webhook_to_frame, 0.5));
        our_p99.push(ms(&crowd.measures().webhook_to_frame, 0.99));
        bar.inc(1);
    }
    bench.check_crowd(&crowd, &books);
    crowd.close()?;
    channels.close()?;
    bench.finish(&mut service)?;
    nginx.process.stop()?;
    bar.finish();
    let figures = [
        ("webhook → frame, median", our_median, their_median),
        ("the same, p99", our_p99, their_p99),
    ];
    let figures = figures.map(|(what, ours, theirs)| {
        Figure::new(RUN, what, median(&ours), "ms").beside("nchan", median(&theirs))
    });
    bench.report.figures.extend(figures);
    let memory = Figure::new(RUN, "memory of a session (PSS)", our_bytes / 1024.0, "KiB");
    let memory = memory.beside("nchan", nchan_bytes / 1024.0);
    bench.report.figures.push(memory);
    Ok(())
}

/// The n-th message, as large as a push, to the sockets in turn.
fn message(n: usize, sessions: usize) -> Vec<u8> {
    let (user, version) = (n % sessions + 1, n / sessions + 1);
    let now = rfc3339(now_us());
    let body = echo::push(version as u64, &now, &now);
    let length = body.len();
    format!(
        "POST /pub?user={user} HTTP/1.1\r\nhost: load\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

struct Nginx {
    process: Process,
    address: SocketAddr,
}

impl Nginx {
    /// With as many workers as the service has, and files below `dir`.
    fn start(dir: &Path) -> Result<Self> {
        let address = server::listen()?.local_addr()?;
        let (folder, workers) = (dir.display(), server::workers());
        let settings = format!(
            "load_module {MODULE};
             daemon off; worker_processes {workers}; pid {folder}/pid; error_log stderr notice;
             worker_rlimit_nofile 60000;
             events {{ worker_connections 25000; }}
             http {{
                 access_log off; keepalive_requests 100000000; nchan_shared_memory_size 256M;
                 client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
                 uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
                 server {{
                     listen {address} backlog=4096;
                     location = /ws {{ nchan_subscriber websocket; nchan_channel_id $arg_user; }}
                     location = /pub {{ nchan_publisher http; nchan_channel_id $arg_user; }}
                 }}
             }}"
        );
        let file = dir.join("nginx.conf");
        std::fs::write(&file, settings)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(dir);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let mut process = Process::start(command, &dir.join("log"))?;
        process.wait_for(|line| line.contains("start worker process ").then_some(()))?;
        Ok(Self { process, address })
    }

    /// Of all its processes, in bytes.
    fn memory(&self) -> Result<f64> {
        let family = proc::family(self.process.pid())?;
        let bytes = family.into_iter().map(proc::pss_bytes);
        Ok(bytes.sum::<Result<u64>>()? as f64)
    }
}
