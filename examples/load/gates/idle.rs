//! The memory of an idle session, everything included: 19,500 users, each with one session that has
//! its snapshot.

use std::time::Duration;

use crate::Result;
use crate::bench::{Bench, PATIENCE};
use crate::report::{Figure, Gate};
use crate::system::proc;

const RUN: &str = "idle";
const KIB: f64 = 1024.0;
/// Time for the last handshakes to settle.
const SETTLE: Duration = Duration::from_secs(3);

pub fn run(bench: &mut Bench) -> Result<()> {
    let sessions = bench.size(bench.options.sessions, 19_500, 500);
    let bar = bench.bar(RUN, 2);
    let database = bench.sqlite()?;
    let mut service = bench.launch(RUN, &[]).start(&database)?;
    let pid = service.pid().ok_or("the bench has started it")?;
    let ours = memory_of(bench, pid, service.public, sessions, true)?;
    bar.inc(1);
    bench.finish(&mut service)?;
    let echo = bench.baseline(&["echo-server"])?;
    let theirs = memory_of(bench, echo.process.pid(), echo.address, sessions, false)?;
    echo.process.stop()?;
    bar.finish();
    let figures = &mut bench.report.figures;
    let each = Figure::new(RUN, "memory of an idle session (PSS)", ours.pss_kib, "KiB");
    figures.push(each.clone().gate(Gate::AtMost(13.0)));
    figures.push(each.beside("echo", theirs.pss_kib));
    figures.push(
        Figure::new(
            RUN,
            "socket buffers of a session, both ends",
            ours.socket_kib,
            "KiB",
        )
        .beside("echo", theirs.socket_kib),
    );
    figures.push(
        Figure::new(
            RUN,
            "kernel slabs of a session, both ends",
            ours.slab_kib,
            "KiB",
        )
        .beside("echo", theirs.slab_kib),
    );
    figures
        .push(Figure::new(RUN, "connects a second", ours.per_s, "/s").beside("echo", theirs.per_s));
    Ok(())
}

/// What one session takes.
pub(super) struct Each {
    /// Memory of the process, in KiB.
    pub(super) pss_kib: f64,
    socket_kib: f64,
    slab_kib: f64,
    per_s: f64,
}

/// Opens sessions, and tells what each takes.
pub(super) fn memory_of(
    bench: &mut Bench,
    pid: u32,
    address: std::net::SocketAddr,
    sessions: usize,
    has_snapshots: bool,
) -> Result<Each> {
    // The first sessions warm up what a process allocates once.
    let warm = bench.crowd(address, sessions.min(50))?;
    warm.wait("the first sessions", PATIENCE, |m| {
        m.opened == sessions.min(50) as u64
    })?;
    warm.close()?;
    std::thread::sleep(SETTLE / 3);
    let before = (
        proc::pss_bytes(pid)?,
        proc::socket_bytes()?,
        proc::slab_bytes()?,
    );
    let crowd = bench.crowd(address, sessions)?;
    let all = sessions as u64;
    let took = crowd.wait("all sessions", PATIENCE, |m| {
        if has_snapshots {
            m.snapshots == all
        } else {
            m.opened == all
        }
    })?;
    std::thread::sleep(SETTLE);
    let each = |now: u64, then: u64| (now as f64 - then as f64) / sessions as f64 / KIB;
    let figures = Each {
        pss_kib: each(proc::pss_bytes(pid)?, before.0),
        socket_kib: each(proc::socket_bytes()?, before.1),
        slab_kib: each(proc::slab_bytes()?, before.2),
        per_s: sessions as f64 / took.as_secs_f64(),
    };
    let closed = crowd.measures().closed;
    bench.report.check(
        || format!("all sessions stay open, but {closed}"),
        closed == 0,
    );
    crowd.close()?;
    Ok(figures)
}
