//! The connection to the bus, judged by whether own beats come back.
//!
//! A client believes in a connection for seconds after it has died, and a server that denies a subject says so only in its
//! log. An own beat that comes back proves both directions, and the permissions.

use crate::clock::Mono;
use crate::cluster::tracker::Times;

/// After so many silences without an own beat the client is replaced: it may be stuck itself.
const RENEW_SILENCES: u64 = 5;

/// What to do with the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing.
    #[default]
    Keep,
    /// End it, and make another.
    Reconnect,
    /// Replace the client that makes it.
    Renew,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Links {
    is_connected: bool,
    /// When the latest own beat was sent that came back on this connection.
    latest_back: Option<Mono>,
    /// Since when this connection has been without an own beat that came back lately.
    silent_since: Option<Mono>,
    /// Since when this client has been without one.
    stuck_since: Option<Mono>,
}

impl Links {
    pub(super) const fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(super) const fn latest_back(&self) -> Option<Mono> {
        self.latest_back
    }

    pub(super) fn connected(&mut self, now: Mono) {
        self.is_connected = true;
        self.latest_back = None;
        self.silent_since = Some(now);
    }

    pub(super) fn disconnected(&mut self) {
        self.is_connected = false;
        self.latest_back = None;
        self.silent_since = None;
    }

    /// An own beat has come back. Late ones prove nothing.
    pub(super) fn came_back(&mut self, sent_at: Mono, now: Mono) {
        if self.latest_back.is_none_or(|latest| latest < sent_at) {
            self.latest_back = Some(sent_at);
            self.silent_since = Some(sent_at);
            self.stuck_since = Some(now);
        }
    }

    pub(super) fn due(&mut self, now: Mono, times: &Times) -> Link {
        let stuck_since = *self.stuck_since.get_or_insert(now);
        if now.us_since(stuck_since) >= RENEW_SILENCES * times.silence_us {
            self.stuck_since = Some(now);
            self.silent_since = None;
            return Link::Renew;
        }
        match self.silent_since {
            Some(since) if self.is_connected && now.us_since(since) >= times.silence_us => {
                // Once for each silence.
                self.silent_since = Some(now);
                Link::Reconnect
            }
            _ => Link::Keep,
        }
    }
}
