//! The feed: every committed entry once, a user's entries in the order of their versions, for systems that follow the
//! ledger. The table of entries is its outbox: nothing is written for it.
//!
//! Entries come in the order of their ids. That is right for each user, because a version gets its id after the version
//! before it was committed; and a page ends before an id whose predecessors are not all settled (`horizon.rs`). A follower
//! that waits uses no connection: one task looks for news while there are any ([`mod@watch`]), at once after each commit of
//! this process, and every few milliseconds for those of others.

mod horizon;
mod page;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::limits::{FEED_LOOK_MS, FEED_SOON_MS, FEED_WAITERS_MAX};

use super::connection::AnyConnection;
use super::reads::ReadError;
use super::{Ledger as _, SqlLedger, Standing};

use self::horizon::Horizon;

pub use self::page::FeedPage;
pub(super) use self::page::read;

/// How far the ledger is, as this process has seen it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The newest id.
    pub newest: i64,
    /// All ids up to this one are settled.
    pub settled: i64,
}

/// What the readers of the feed share.
#[derive(Debug, Default)]
pub struct Outbox {
    horizon: Mutex<Horizon>,
    seen: watch::Sender<Seen>,
    waiting: AtomicUsize,
    arrived: Notify,
}

/// A follower that waits; it has its place until this is dropped.
#[derive(Debug)]
pub struct Waiting<'a>(&'a Outbox);

impl Outbox {
    fn horizon(&self) -> MutexGuard<'_, Horizon> {
        self.horizon
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Looks at the ledger. Ids that are settled when this returns are so for every statement that begins later.
    pub(super) fn look(
        &self,
        connection: &mut AnyConnection,
        standing: &Standing,
    ) -> Result<Seen, ReadError> {
        let epoch = standing.epoch_number();
        let begun = self.horizon().begin(epoch);
        let look = page::look(connection)?;
        let newest = look.newest;
        let mut horizon = self.horizon();
        horizon.learn(epoch, begun, look);
        let settled = horizon.settled(epoch);
        Ok(Seen { newest, settled })
    }

    /// A place among those that wait, unless there are [`FEED_WAITERS_MAX`] already.
    pub fn place(&self) -> Option<Waiting<'_>> {
        let one_more = |waiting: usize| (waiting < FEED_WAITERS_MAX).then_some(waiting + 1);
        self.waiting
            .try_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()?;
        self.arrived.notify_one();
        Some(Waiting(self))
    }

    async fn has_waiters(&self) {
        while self.waiting.load(Ordering::Acquire) == 0 {
            self.arrived.notified().await;
        }
    }
}

impl Waiting<'_> {
    /// Waits until there may be entries behind this id. `is_held` tells that there were some, but not settled.
    pub async fn for_news(&self, after: i64, is_held: bool) {
        let has_news = |seen: &Seen| seen.settled > after || !is_held && seen.newest > after;
        // The sender lives as long as the feed.
        let _ = self.0.seen.subscribe().wait_for(has_news).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Looks for news while followers wait. Never ends.
pub async fn watch(ledger: Arc<SqlLedger>) {
    let outbox = ledger.outbox();
    let mut rest_ms = FEED_LOOK_MS.0;
    loop {
        outbox.has_waiters().await;
        let mut is_unsettled = false;
        match ledger.look_at_feed().await {
            Ok(seen) => {
                is_unsettled = seen.settled < seen.newest;
                let has_changed = outbox
                    .seen
                    .send_if_modified(|before| std::mem::replace(before, seen) != seen);
                rest_ms = match has_changed {
                    true => FEED_LOOK_MS.0,
                    false => (rest_ms * 2).min(FEED_LOOK_MS.1),
                };
            }
            // The followers' own reads tell them.
            Err(_) => rest_ms = FEED_LOOK_MS.1,
        }
        sleep(Duration::from_millis(FEED_SOON_MS)).await;
        if !is_unsettled {
            tokio::select! {
                () = ledger.standing().next_commit() => {}
                () = sleep(Duration::from_millis(rest_ms)) => {}
            }
        }
    }
}
