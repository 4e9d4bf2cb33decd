//! Sessions that record their frames.

use std::sync::{Arc, Mutex};

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::clock::Wall;
use crate::coordinator::messages::{AttachSession, Outbox, Peer, ToActor, ToSession, ToUser};
use crate::coordinator::registry::Registry;
use crate::domain::{Amount, SessionId, UserId};

/// A session that only listens, and attaches again when it is told to.
pub(super) struct Listener {
    pub(super) id: SessionId,
    pub(super) user_id: UserId,
    pub(super) registry: Addr<Registry>,
    pub(super) heard: Arc<Mutex<Vec<String>>>,
    pub(super) epoch: u64,
    pub(super) last_version: i64,
    pub(super) stalled: Option<oneshot::Receiver<()>>,
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.attach(false, ctx);
    }
}

impl Listener {
    fn attach(&self, is_again: bool, ctx: &Context<Self>) {
        let message = ToActor::AttachSession(AttachSession {
            session_id: self.id,
            outbox: Outbox::new(ctx.address().recipient()),
            is_again,
            epoch: self.epoch,
            last_version: self.last_version,
            peer: Peer {
                address: None,
                user_agent: None,
                connected_at: Wall::default(),
            },
        });
        self.registry
            .try_send(ToUser {
                user_id: self.user_id,
                message,
            })
            .expect("room");
    }

    /// `snapshot v7 stale`, `direct v8 e1 +5`, `error code`
    fn note(&self, text: &str) {
        let frame: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let field = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        let line = match field("type").as_str() {
            "balance" if frame["stale"] == true => {
                format!("{} v{} stale", field("reason"), frame["version"])
            }
            "balance" => format!("{} v{}", field("reason"), frame["version"]),
            "balance_update" => {
                let change = frame["changes"]["TON"].as_str().unwrap_or_default();
                let minor = Amount::parse(change, 9).expect("an amount").minor();
                format!(
                    "{} v{} e{} {minor:+}",
                    field("mode"),
                    frame["version"],
                    frame["entries"]
                )
            }
            _ => format!("{} {}", field("type"), field("code")),
        };
        self.heard.lock().expect("not poisoned").push(line);
    }
}

impl Handler<ToSession> for Listener {
    type Result = ();

    fn handle(&mut self, message: ToSession, ctx: &mut Self::Context) {
        match message {
            ToSession::Frame { text, version } => {
                assert!(
                    version == 0 || version >= self.last_version,
                    "an older version was sent"
                );
                self.last_version = self.last_version.max(version);
                self.note(&text);
            }
            ToSession::Close(reason) => self
                .heard
                .lock()
                .expect("not poisoned")
                .push(format!("close {reason:?}")),
            ToSession::Reattach => self.attach(true, ctx),
        }
        if let Some(stalled) = self.stalled.take() {
            ctx.wait(stalled.into_actor(self).map(|_, _, _| ()));
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stall(pub(super) oneshot::Receiver<()>);

impl Handler<Stall> for Listener {
    type Result = ();

    fn handle(&mut self, Stall(until): Stall, _: &mut Self::Context) {
        self.stalled = Some(until);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Die;

impl Handler<Die> for Listener {
    type Result = ();

    fn handle(&mut self, _: Die, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
