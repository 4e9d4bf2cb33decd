//! A user's page at one node, over the real session and codec: it reads everything, and answers pings.

use actix_http::ws::{Codec, Frame, Message};
use actix_web::error::PayloadError;
use balance_coordinator::coordinator::messages::Peer;
use balance_coordinator::domain::UserId;
use balance_coordinator::http::start_over;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::node::{Process, RunningNode};
use super::oracle::NodesOracle;

/// Closes the session when it is dropped.
pub struct Page {
    pub node: usize,
    pub user: i64,
    to_server: mpsc::UnboundedSender<Result<Bytes, PayloadError>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Page {
    /// Opens one.
    pub fn open(oracle: &NodesOracle, (index, node): (usize, &RunningNode), user: i64) -> Self {
        let session = oracle.opened(user, index);
        oracle.note(&format!(
            "session {session} of user {user} opens at {index}"
        ));
        oracle.asks(index);
        let (to_server, incoming) = mpsc::unbounded_channel();
        let (to_client, frames) = mpsc::unbounded_channel();
        let clock = oracle.clock();
        node.call(move |process| serve(process, (user, clock), incoming, to_client));
        let read = read(oracle.clone(), session, frames, to_server.clone());
        Self {
            node: index,
            user,
            to_server,
            reading: actix_rt::spawn(read),
        }
    }

    pub fn is_over(&self) -> bool {
        self.reading.is_finished()
    }

    /// Asks for the ledger's state.
    pub fn refresh(&self) {
        say(
            &self.to_server,
            Message::Text(r#"{"type":"refresh","id":1}"#.into()),
        );
    }

    pub fn close(&self) {
        say(&self.to_server, Message::Close(None));
    }
}

/// On the node: what the connection of a browser does there.
fn serve(
    process: &Process,
    (user, clock): (i64, balance_coordinator::clock::Clock),
    mut incoming: mpsc::UnboundedReceiver<Result<Bytes, PayloadError>>,
    to_client: mpsc::UnboundedSender<Bytes>,
) {
    let user_id = UserId::new(user).expect("a user id");
    let token = process
        .sessions
        .access
        .now()
        .keys
        .issue(user_id, 3600, clock.now_s())
        .token;
    let peer = Peer {
        address: None,
        user_agent: None,
        connected_at: clock.wall(),
    };
    let incoming = futures_util::stream::poll_fn(move |cx| incoming.poll_recv(cx));
    let from_server = start_over(process.sessions.clone(), Some(&token), peer, incoming);
    let mut from_server = Box::pin(from_server.expect("the token is good"));
    actix_rt::spawn(async move {
        while let Some(Ok(bytes)) = from_server.next().await {
            if to_client.send(bytes).is_err() {
                return;
            }
        }
    });
}

async fn read(
    oracle: NodesOracle,
    session: usize,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
    to_server: mpsc::UnboundedSender<Result<Bytes, PayloadError>>,
) {
    let (mut codec, mut unread) = (Codec::new().client_mode(), BytesMut::new());
    while let Some(bytes) = frames.recv().await {
        unread.extend_from_slice(&bytes);
        while let Some(frame) = codec.decode(&mut unread).expect("good frames") {
            match frame {
                Frame::Text(text) => match serde_json::from_slice(&text) {
                    Ok(frame) => oracle.frame(session, &frame),
                    Err(_) => oracle.violation("a frame that is no JSON"),
                },
                Frame::Ping(bytes) => say(&to_server, Message::Pong(bytes)),
                Frame::Close(_) => return oracle.closed(session),
                Frame::Pong(_) | Frame::Binary(_) | Frame::Continuation(_) => {}
            }
        }
    }
    oracle.closed(session);
}

fn say(to_server: &mpsc::UnboundedSender<Result<Bytes, PayloadError>>, message: Message) {
    let mut bytes = BytesMut::new();
    let encoded = Codec::new().client_mode().encode(message, &mut bytes);
    encoded.expect("a good message");
    // The session may have ended.
    let _ = to_server.send(Ok(bytes.freeze()));
}
