//! A test's own TCP relay, for any protocol: it can hold up each direction by itself, and cut all connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What passes. What is held up stays where it is, and passes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    pub to_server: bool,
    pub to_client: bool,
}

impl Passes {
    pub const ALL: Self = Self {
        to_server: true,
        to_client: true,
    };
    pub const NONE: Self = Self {
        to_server: false,
        to_client: false,
    };
}

/// A running relay; its connections end with it.
pub struct Relay {
    pub addr: SocketAddr,
    upstream: SocketAddr,
    passes: watch::Sender<Passes>,
    connections: Arc<Connections>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Connections {
    accepted: AtomicUsize,
    ended: AtomicUsize,
}

impl Relay {
    /// Listens on a free port.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let passes = watch::Sender::new(Passes::ALL);
        let connections = Arc::new(Connections::default());
        let task = accept(listener, upstream, passes.subscribe(), connections.clone());
        Self {
            addr,
            upstream,
            passes,
            connections,
            task: tokio::spawn(task),
        }
    }

    /// Ends all connections and listens no more.
    pub async fn cut(&mut self) {
        self.task.abort();
        // The listener and the connections are gone when this is over.
        let _ = (&mut self.task).await;
        self.connections
            .ended
            .store(self.accepted(), Ordering::SeqCst);
    }

    /// Listens again, on its port.
    pub async fn mend(&mut self) {
        let listener = TcpListener::bind(self.addr).await.expect("its own port");
        let (passes, connections) = (self.passes.subscribe(), self.connections.clone());
        self.task = tokio::spawn(accept(listener, self.upstream, passes, connections));
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.connections.accepted.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        let ended = self.connections.ended.load(Ordering::SeqCst);
        self.accepted() - ended
    }

    pub fn set(&self, passes: Passes) {
        self.passes.send_replace(passes);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    passes: watch::Receiver<Passes>,
    connections: Arc<Connections>,
) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.accepted.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(client, upstream, passes.clone()));
            }
            Some(_) = serving.join_next() => {
                connections.ended.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, passes: watch::Receiver<Passes>) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    // Small messages go at once, as they do between a real client and its server.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, passes.clone(), |passes| {
        passes.to_server
    });
    let down = copy(from_server, to_client, passes, |passes| passes.to_client);
    // The end of one direction is the end of both.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passes: watch::Receiver<Passes>,
    is_open: fn(&Passes) -> bool,
) {
    let mut bytes = vec![0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if passes.wait_for(is_open).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
