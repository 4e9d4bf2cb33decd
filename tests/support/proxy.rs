//! A test's own TCP proxy between the service and PostgreSQL. It parses message boundaries, so that
//! it can cut a connection during a COMMIT.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with all traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Connections are cut, and new ones refused.
    Refuse,
    /// Connections stay open, new ones are accepted, and nothing passes until the mode changes.
    BlackHole,
    /// Everything passes with a delay, one per direction.
    Delay(Duration, Duration),
}

/// What the proxy does with one COMMIT. It cuts the connection, or lets nothing pass on it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// It never reaches the server.
    Swallowed,
    /// It is executed, and the answer is lost.
    AnswerLost,
    /// It reaches the server this long after the client has lost its connection.
    Late(Duration),
    /// It never reaches the server, and the connection stays open.
    Held,
    /// It is executed, its answer never reaches the client, and the connection stays open.
    AnswerHeld,
}

/// A running proxy; its connections end with it.
pub struct Proxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    /// How often all connections were cut.
    severed: watch::Sender<u32>,
    /// The next COMMITs: `None` passes.
    commits: Mutex<VecDeque<Option<CommitFault>>>,
    cut: AtomicU32,
    /// Delayed COMMITs that the server has executed.
    late_and_done: AtomicU32,
}

impl Proxy {
    /// Listens on a free port.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            upstream,
            mode: watch::Sender::new(Mode::Pass),
            severed: watch::Sender::new(0),
            commits: Mutex::default(),
            cut: AtomicU32::new(0),
            late_and_done: AtomicU32::new(0),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { addr, shared, task }
    }

    /// A database URL that goes through the proxy.
    pub fn url(&self, direct: &str) -> String {
        let (scheme, rest) = direct.split_once("://").expect("a URL");
        let (user, place) = rest.split_once('@').expect("a user");
        let (_, database) = place.split_once('/').expect("a database");
        // Without TLS, so that messages can be parsed.
        format!(
            "{scheme}://{user}@{}/{database}?sslmode=disable&gssencmode=disable",
            self.addr
        )
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Cuts all connections.
    pub fn sever(&self) {
        self.shared.severed.send_modify(|count| *count += 1);
    }

    /// Plans the next COMMITs, in order.
    pub fn plan_commits(&self, plan: impl IntoIterator<Item = Option<CommitFault>>) {
        *self.shared.commits.lock().expect("no panic holds it") = plan.into_iter().collect();
    }

    /// The numbers of cut COMMITs, of late ones that were executed, and of those still planned.
    pub fn commits_cut(&self) -> (u32, u32, usize) {
        let planned = self.shared.commits.lock().expect("no panic holds it").len();
        (
            self.shared.cut.load(Ordering::Relaxed),
            self.shared.late_and_done.load(Ordering::Relaxed),
            planned,
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let addr = listener.local_addr().expect("bound");
    let mut listener = Some(listener);
    let mut connections = tokio::task::JoinSet::new();
    let (mut mode, mut severed) = (shared.mode.subscribe(), shared.severed.subscribe());
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
            connections.abort_all();
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(addr).await.expect("its own port"));
        }
        let next = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = mode.changed() => {}
            Ok(()) = severed.changed() => connections.abort_all(),
            Ok((client, _)) = next => {
                connections.spawn(serve(client, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let mut mode = shared.mode.subscribe();
    if pass(&mut mode, |_, _| Duration::ZERO).await.is_none() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(shared.upstream).await else {
        return;
    };
    // Small messages go at once, as they do between a real client and its server.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut frames = Frames::default();
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let mut loses_answer = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                if pass(&mut mode, |to_server, _| to_server).await.is_none() {
                    return;
                }
                frames.buffer.extend_from_slice(&from_client[..count]);
                while let Some(frame) = frames.next() {
                    match is_commit(&frame).then(|| shared.next_commit()).flatten() {
                        None => if server.write_all(&frame).await.is_err() { return },
                        Some(CommitFault::Swallowed) => return,
                        Some(CommitFault::AnswerLost) => {
                            loses_answer = true;
                            if server.write_all(&frame).await.is_err() { return }
                        }
                        Some(CommitFault::Held) => return hold(client, server).await,
                        Some(CommitFault::AnswerHeld) => {
                            if server.write_all(&frame).await.is_err() { return }
                            return hold(client, server).await;
                        }
                        Some(CommitFault::Late(wait)) => {
                            drop(client);
                            return deliver_late(server, &frame, wait, &shared).await;
                        }
                    }
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(count @ 1..) = read else { return };
                if loses_answer || pass(&mut mode, |_, to_client| to_client).await.is_none() {
                    return;
                }
                if client.write_all(&from_server[..count]).await.is_err() { return }
            }
        }
    }
}

/// Keeps both connections open until either end closes its own, and passes nothing.
async fn hold(mut client: TcpStream, mut server: TcpStream) {
    let (mut of_client, mut of_server) = ([0; 1024], [0; 1024]);
    tokio::select! {
        () = async { while let Ok(1..) = client.read(&mut of_client).await {} } => {}
        () = async { while let Ok(1..) = server.read(&mut of_server).await {} } => {}
    }
}

/// Waits as long as the mode says; `None` when the proxy has ended.
async fn pass(
    mode: &mut watch::Receiver<Mode>,
    of: fn(Duration, Duration) -> Duration,
) -> Option<()> {
    let now = *mode.wait_for(|mode| *mode != Mode::BlackHole).await.ok()?;
    if let Mode::Delay(to_server, to_client) = now {
        tokio::time::sleep(of(to_server, to_client)).await;
    }
    Some(())
}

async fn deliver_late(mut server: TcpStream, frame: &[u8], wait: Duration, shared: &Shared) {
    tokio::time::sleep(wait).await;
    let mut answer = vec![0; 1024];
    if server.write_all(frame).await.is_ok()
        && let Ok(count @ 1..) = server.read(&mut answer).await
        && answer[..count].windows(6).any(|part| part == b"COMMIT")
    {
        shared.late_and_done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn next_commit(&self) -> Option<CommitFault> {
        let fault = self
            .commits
            .lock()
            .expect("no panic holds it")
            .pop_front()
            .flatten();
        self.cut
            .fetch_add(u32::from(fault.is_some()), Ordering::Relaxed);
        fault
    }
}

fn is_commit(frame: &[u8]) -> bool {
    frame.first() == Some(&b'Q') && frame[5..].starts_with(b"COMMIT")
}

/// Splits what a client sends into messages: the first has no type byte, every other has one.
#[derive(Default)]
struct Frames {
    buffer: Vec<u8>,
    has_started: bool,
}

impl Frames {
    fn next(&mut self) -> Option<Vec<u8>> {
        let head = usize::from(self.has_started);
        let length = self.buffer.get(head..head + 4)?;
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize + head;
        if self.buffer.len() < length {
            return None;
        }
        self.has_started = true;
        let rest = self.buffer.split_off(length);
        Some(std::mem::replace(&mut self.buffer, rest))
    }
}
