//! SIGTERM and SIGINT, from the first moment of the process on, and SIGHUP for the commands that take it.
//!
//! As the first process of a container, a process that has no handler never gets SIGTERM and SIGINT. So a thread waits for
//! them before anything else is done, and remembers those that come before a command listens.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What a shell adds to the number of the signal that ended a process.
const EXIT_CODE_BASE: i32 = 128;

/// How many have come, and the last one.
#[derive(Debug, Clone, Copy, Default)]
struct Received {
    count: u64,
    last: Option<SignalKind>,
}

/// SIGTERM and SIGINT.
#[derive(Debug, Clone)]
pub struct StopSignals {
    received: watch::Receiver<Received>,
    seen: u64,
}

impl StopSignals {
    /// From now on they no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        let (sender, received) = watch::channel(Received::default());
        let (ready, is_ready) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || receive(&sender, &ready))?;
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread for signals has ended")))?;
        Ok(Self { received, seen: 0 })
    }

    /// Waits for the next of them, and names it. May be cancelled.
    pub async fn next(&mut self) -> &'static str {
        let seen = self.seen;
        let next = self.received.wait_for(|received| received.count > seen);
        let Ok(last) = next.await.map(|received| received.last) else {
            // The thread ends with the process.
            return std::future::pending().await;
        };
        self.seen += 1;
        name(last)
    }

    /// For a command that has nothing to finish: the next of them, or one that has come already, ends the process.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn end_process(mut self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().build()?;
        thread::Builder::new()
            .name("ends".into())
            .spawn(move || {
                runtime.block_on(self.next());
                let number = self
                    .received
                    .borrow()
                    .last
                    .map_or(0, |kind| kind.as_raw_value());
                std::process::exit(EXIT_CODE_BASE + number);
            })
            .map(|_| ())
    }
}

/// SIGHUP. Without this it ends the process, or is ignored below `nohup`.
#[derive(Debug)]
pub struct Hangups {
    handlers: mpsc::SyncSender<Handler>,
}

type Handler = Box<dyn FnMut() + Send>;

impl Hangups {
    /// From now on it no longer ends the process. One that comes before [`Hangups::handle`] is remembered.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        let (handlers, its_handler) = mpsc::sync_channel(1);
        let (ready, is_ready) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("hangups".into())
            .spawn(move || handle_hangups(&its_handler, &ready))?;
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread for SIGHUP has ended")))?;
        Ok(Self { handlers })
    }

    /// Calls `handler` for each from now on, on a thread of its own, where it may block. Those that come while it runs
    /// are one.
    pub fn handle(self, handler: impl FnMut() + Send + 'static) {
        // The thread waits for it.
        let _ = self.handlers.send(Box::new(handler));
    }
}

fn handle_hangups(handlers: &mpsc::Receiver<Handler>, ready: &mpsc::SyncSender<io::Result<()>>) {
    let listening = Builder::new_current_thread()
        .enable_io()
        .build()
        .and_then(|runtime| {
            let _entered = runtime.enter();
            let hangups = signal(SignalKind::hangup())?;
            Ok((runtime, hangups))
        });
    let (runtime, mut hangups) = match listening {
        Ok(listening) => listening,
        Err(error) => return drop(ready.send(Err(error))),
    };
    // Its receiver waits for it.
    drop(ready.send(Ok(())));
    // Without a handler the command has failed at its start.
    let Ok(mut handler) = handlers.recv() else {
        return;
    };
    while runtime.block_on(hangups.recv()).is_some() {
        handler();
    }
}

fn name(kind: Option<SignalKind>) -> &'static str {
    match kind {
        Some(kind) if kind == SignalKind::interrupt() => "SIGINT",
        _ => "SIGTERM",
    }
}

fn receive(sender: &watch::Sender<Received>, ready: &mpsc::SyncSender<io::Result<()>>) {
    let runtime = match Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let listening = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        let (mut terminate, mut interrupt): (Signal, Signal) = match listening {
            Ok(listening) => listening,
            Err(error) => return drop(ready.send(Err(error))),
        };
        // Its receiver waits for it.
        drop(ready.send(Ok(())));
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            sender.send_modify(|received| {
                received.count += 1;
                received.last = Some(kind);
            });
        }
    });
}
