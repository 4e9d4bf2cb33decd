//! A session of the canary's user.

use std::time::Duration;

use serde_json::Value;

use crate::canary::PATIENCE_MS;
use crate::canary::client::Service;
use crate::canary::socket::{FRAMES_MAX, Heard, Socket};

/// An open session.
pub(super) struct Session {
    pub name: &'static str,
    socket: Socket,
    /// `hello.pacing.min_interval_ms`
    pub min_interval_ms: u64,
    /// The first balance that the service sent.
    pub snapshot: Value,
}

impl Session {
    /// Connects, and waits for `hello` and the snapshot.
    pub(super) async fn open(service: &Service<'_>, name: &'static str) -> Result<Self, String> {
        let url = format!("{}/ws", service.options.url);
        let request = service
            .http
            .ws(&url)
            .bearer_auth(service.token())
            .protocols(["balance.v1"]);
        let socket = Socket::open(name, request, service.clock).await?;
        let mut session = Self {
            name,
            socket,
            min_interval_ms: 0,
            snapshot: Value::Null,
        };
        let hello = session.expect("hello").await?;
        session.min_interval_ms = hello.frame["pacing"]["min_interval_ms"]
            .as_u64()
            .unwrap_or(0);
        session.snapshot = session.expect("balance").await?.frame;
        Ok(session)
    }

    /// The next frame, which must be of this type.
    async fn expect(&mut self, kind: &str) -> Result<Heard, String> {
        let name = self.name;
        let heard = self.next(Duration::from_millis(PATIENCE_MS)).await?;
        let heard = heard.ok_or_else(|| format!("{name}: no {kind} came in time"))?;
        if heard.frame["type"] == kind {
            Ok(heard)
        } else {
            Err(format!("{name}: {kind} expected, came {}", heard.frame))
        }
    }

    /// The push that brings this version; frames before it are given to `other`.
    pub(super) async fn push_of(
        &mut self,
        version: i64,
        mut other: impl FnMut(&Heard),
    ) -> Result<Heard, String> {
        // Bounded: each frame is a new version, or an answer without a question.
        for _ in 0..FRAMES_MAX {
            let patience = Duration::from_millis(PATIENCE_MS + self.min_interval_ms);
            let heard = self.next(patience).await?;
            let heard = heard
                .ok_or_else(|| format!("{}: version {version} did not come in time", self.name))?;
            if heard.frame["type"] == "balance_update"
                && heard.frame["version"].as_i64() >= Some(version)
            {
                return Ok(heard);
            }
            other(&heard);
        }
        Err(format!(
            "{}: frames without end, but not version {version}",
            self.name
        ))
    }

    /// The next frame, if one comes in time.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Heard>, String> {
        self.socket.next(patience).await
    }
}
