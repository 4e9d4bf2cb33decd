//! A page of the canary's user: an open WebSocket, read by a task of its own that notes when each frame came.

use std::time::Duration;

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{CloseCode, Codec, Frame, Message};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock::Clock;

use super::PATIENCE_MS;
use super::client::Service;

/// The most bytes of a frame.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Frames that may wait to be looked at.
const FRAMES_MAX: usize = 1024;

/// A frame, and when it came (monotonic).
#[derive(Debug)]
pub(super) struct Heard {
    pub at_us: u64,
    pub frame: Value,
}

/// An open session.
pub(super) struct Session {
    pub name: &'static str,
    frames: mpsc::Receiver<Result<Heard, String>>,
    /// Dropped, it lets the connection close in the orderly way.
    _open: oneshot::Sender<()>,
    /// `hello.pacing.min_interval_ms`
    pub min_interval_ms: u64,
    /// The first balance it was sent.
    pub snapshot: Value,
}

impl Session {
    /// Connects, and waits for `hello` and the snapshot.
    pub(super) async fn open(service: &Service<'_>, name: &'static str) -> Result<Self, String> {
        let url = format!("{}/ws", service.options.url);
        let request = service.http.ws(&url).bearer_auth(service.token()).protocols(["balance.v1"]);
        let connected = timeout(Duration::from_millis(PATIENCE_MS), request.max_frame_size(FRAME_BYTES_MAX).connect());
        let connected = connected.await.map_err(|_| format!("{name}: no answer to the handshake"))?;
        let (_, framed) = connected.map_err(|error| format!("{name}: {error}"))?;
        let (sender, frames) = mpsc::channel(FRAMES_MAX);
        let (open, closing) = oneshot::channel();
        actix_rt::spawn(read(framed, sender, closing, service.clock));
        let mut session = Self { name, frames, _open: open, min_interval_ms: 0, snapshot: Value::Null };
        let hello = session.expect("hello", 0).await?;
        session.min_interval_ms = hello.frame["pacing"]["min_interval_ms"].as_u64().unwrap_or(0);
        session.snapshot = session.expect("balance", 0).await?.frame;
        Ok(session)
    }

    /// The next frame, which must be of this type; `more_ms` more patience than usual.
    async fn expect(&mut self, kind: &str, more_ms: u64) -> Result<Heard, String> {
        let name = self.name;
        let heard = self.next(Duration::from_millis(PATIENCE_MS + more_ms)).await?;
        let heard = heard.ok_or_else(|| format!("{name}: no {kind} came in time"))?;
        if heard.frame["type"] == kind {
            Ok(heard)
        } else {
            Err(format!("{name}: {kind} expected, came {}", heard.frame))
        }
    }

    /// The push that brings this version; frames before it are given to `other`.
    pub(super) async fn push_of(&mut self, version: i64, mut other: impl FnMut(&Heard)) -> Result<Heard, String> {
        // Each is a new version, or an answer that nobody asked for.
        for _ in 0..FRAMES_MAX {
            let patience = Duration::from_millis(PATIENCE_MS + self.min_interval_ms);
            let heard = self.next(patience).await?;
            let heard = heard.ok_or_else(|| format!("{}: version {version} did not come in time", self.name))?;
            if heard.frame["type"] == "balance_update" && heard.frame["version"].as_i64() >= Some(version) {
                return Ok(heard);
            }
            other(&heard);
        }
        Err(format!("{}: frames without end, but not version {version}", self.name))
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

async fn read(
    mut framed: Framed<BoxedSocket, Codec>,
    frames: mpsc::Sender<Result<Heard, String>>,
    mut closing: oneshot::Receiver<()>,
    clock: Clock,
) {
    loop {
        let came = tokio::select! {
            came = framed.next() => came,
            _ = &mut closing => {
                // A connection that can't be written any more is closed, too.
                let _ = framed.send(Message::Close(Some(CloseCode::Normal.into()))).await;
                return;
            }
        };
        let at_us = clock.monotonic_us();
        let heard = match came {
            Some(Ok(Frame::Text(text))) => match serde_json::from_slice(&text) {
                Ok(frame) => Ok(Heard { at_us, frame }),
                Err(error) => Err(format!("a frame that is no JSON: {error}")),
            },
            Some(Ok(Frame::Ping(bytes))) => match framed.send(Message::Pong(bytes)).await {
                Ok(()) => continue,
                Err(error) => Err(error.to_string()),
            },
            Some(Ok(Frame::Pong(_))) => continue,
            Some(Ok(Frame::Close(reason))) => Err(format!("closed by the service: {reason:?}")),
            Some(Ok(other)) => Err(format!("a frame that is no text: {other:?}")),
            Some(Err(error)) => Err(error.to_string()),
            None => return,
        };
        let is_over = heard.is_err();
        // Full: nobody has looked for a thousand frames, and the run ends as one that heard too much.
        if frames.try_send(heard).is_err() || is_over {
            return;
        }
    }
}
