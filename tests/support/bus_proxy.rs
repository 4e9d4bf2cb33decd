//! A test's own proxy between a node and NATS. It parses what the server sends, so that it can lose, double, delay or swap
//! single messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of one message of commits on its way to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFault {
    Lost,
    Doubled,
    Late(Duration),
    /// It comes after the next one.
    Swapped,
}

/// A running proxy; its connections end with it.
pub struct BusProxy {
    pub addr: SocketAddr,
    planned: Planned,
    task: JoinHandle<()>,
}

type Planned = Arc<Mutex<VecDeque<MessageFault>>>;

impl BusProxy {
    /// Listens on a free port.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let planned = Planned::default();
        let task = tokio::spawn(accept(listener, upstream, planned.clone()));
        Self {
            addr,
            planned,
            task,
        }
    }

    /// What becomes of the next message of commits that nothing is planned for.
    pub fn plan(&self, fault: MessageFault) {
        self.planned().push_back(fault);
    }

    /// Faults that have not happened yet.
    pub fn left(&self) -> usize {
        self.planned().len()
    }

    fn planned(&self) -> std::sync::MutexGuard<'_, VecDeque<MessageFault>> {
        self.planned.lock().expect("no panic holds it")
    }
}

impl Drop for BusProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, planned: Planned) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(serve(client, upstream, planned.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, planned: Planned) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    // The end of one direction is the end of both.
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = pass_messages(from_server, to_client, &planned) => {}
    }
}

async fn pass_messages(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    planned: &Planned,
) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    let mut swapped: Option<Vec<u8>> = None;
    let mut late: VecDeque<(tokio::time::Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let is_due = async {
            match late.front() {
                Some((at, _)) => tokio::time::sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        // Waiting for data loses none of it; a message that has begun is read to its end.
        let has_data = tokio::select! {
            data = from.fill_buf() => !data?.is_empty(),
            () = is_due => {
                let (_, message) = late.pop_front().expect("it was due");
                to.write_all(&message).await?;
                continue;
            }
        };
        if !has_data {
            return Ok(());
        }
        let (message, has_commits) = read_message(&mut from).await?;
        if !has_commits {
            to.write_all(&message).await?;
            continue;
        }
        let fault = planned.lock().expect("no panic holds it").pop_front();
        match fault {
            Some(MessageFault::Lost) => {}
            Some(MessageFault::Late(by)) => {
                late.push_back((tokio::time::Instant::now() + by, message));
            }
            Some(MessageFault::Swapped) => swapped = Some(message),
            Some(MessageFault::Doubled) => {
                to.write_all(&message).await?;
                to.write_all(&message).await?;
            }
            None => {
                to.write_all(&message).await?;
                if let Some(earlier) = swapped.take() {
                    to.write_all(&earlier).await?;
                }
            }
        }
    }
}

/// One line of the protocol with what belongs to it, and whether it is a message with commits.
async fn read_message(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<(Vec<u8>, bool)> {
    let mut message = Vec::new();
    from.read_until(b'\n', &mut message).await?;
    let line = String::from_utf8_lossy(&message).into_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    // `MSG subject sid [reply] bytes`, `HMSG subject sid [reply] bytes of headers, bytes in all`
    let (Some(&("MSG" | "HMSG")), Some(subject), Some(bytes)) =
        (words.first(), words.get(1), words.last())
    else {
        return Ok((message, false));
    };
    let bytes: usize = bytes.parse().expect("a length");
    let head = message.len();
    message.resize(head + bytes + 2, 0);
    from.read_exact(&mut message[head..]).await?;
    Ok((message, subject.contains(".c.")))
}
