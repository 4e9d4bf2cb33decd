//! An open WebSocket, read by a task of its own that notes when each frame came.

use std::time::Duration;

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{CloseCode, Codec, Frame, Message, WebsocketsRequest};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::canary::PATIENCE_MS;
use crate::clock::{Clock, Mono};

/// The most bytes of a frame.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Frames that may wait to be read.
pub(super) const FRAMES_MAX: usize = 1024;

/// Frames that may wait to be sent.
const OUTGOING_MAX: usize = 16;

/// A frame, and when it came (monotonic).
#[derive(Debug)]
pub(super) struct Heard {
    pub at: Mono,
    pub frame: Value,
}

/// A connection; dropping it sends a close frame.
pub(super) struct Socket {
    name: &'static str,
    frames: mpsc::Receiver<Result<Heard, String>>,
    outgoing: mpsc::Sender<Message>,
}

impl Socket {
    pub(super) async fn open(
        name: &'static str,
        request: WebsocketsRequest,
        clock: Clock,
    ) -> Result<Self, String> {
        let connecting = request.max_frame_size(FRAME_BYTES_MAX).connect();
        let connected = timeout(Duration::from_millis(PATIENCE_MS), connecting).await;
        let connected = connected.map_err(|_| format!("{name}: no answer to the handshake"))?;
        let (_, framed) = connected.map_err(|error| format!("{name}: {error}"))?;
        let (heard, frames) = mpsc::channel(FRAMES_MAX);
        let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
        actix_rt::spawn(carry(framed, heard, to_send, clock));
        Ok(Self {
            name,
            frames,
            outgoing,
        })
    }

    pub(super) async fn send(&self, frame: &Value) -> Result<(), String> {
        let sent = self.outgoing.send_timeout(
            Message::Text(frame.to_string().into()),
            Duration::from_millis(PATIENCE_MS),
        );
        sent.await
            .map_err(|_| format!("{}: the connection does not take what is sent", self.name))
    }

    /// The next frame, if one comes in time.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Heard>, String> {
        match timeout(patience, self.frames.recv()).await {
            Ok(Some(Ok(heard))) => Ok(Some(heard)),
            Ok(Some(Err(why))) => Err(format!("{}: {why}", self.name)),
            Ok(None) => Err(format!("{}: the connection ended", self.name)),
            Err(_) => Ok(None),
        }
    }
}

async fn carry(
    mut framed: Framed<BoxedSocket, Codec>,
    frames: mpsc::Sender<Result<Heard, String>>,
    mut to_send: mpsc::Receiver<Message>,
    clock: Clock,
) {
    loop {
        let came = tokio::select! {
            came = framed.next() => came,
            message = to_send.recv() => {
                let is_last = message.is_none();
                let message = message.unwrap_or_else(|| Message::Close(Some(CloseCode::Normal.into())));
                // A connection that can't be written to has ended.
                let is_sent = framed.send(message).await.is_ok();
                if is_last || !is_sent { return } else { continue }
            }
        };
        let at = clock.mono();
        let heard = match came {
            Some(Ok(Frame::Text(text))) => match serde_json::from_slice(&text) {
                Ok(frame) => Ok(Heard { at, frame }),
                Err(error) => Err(format!("a frame that is no JSON: {error}")),
            },
            Some(Ok(Frame::Ping(bytes))) => match framed.send(Message::Pong(bytes)).await {
                Ok(()) => continue,
                Err(error) => Err(error.to_string()),
            },
            Some(Ok(Frame::Pong(_))) => continue,
            Some(Ok(Frame::Close(reason))) => Err(format!("closed by the other side: {reason:?}")),
            Some(Ok(other)) => Err(format!("a frame that is no text: {other:?}")),
            Some(Err(error)) => Err(error.to_string()),
            None => return,
        };
        let is_over = heard.is_err();
        // Full: the run has not read a thousand frames. The channel closes, and the run ends with an error.
        if frames.try_send(heard).is_err() || is_over {
            return;
        }
    }
}
