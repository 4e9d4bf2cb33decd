//! Reads again what could not be read: for the users in [`crate::coordinator::registry::stale`], and for no others.
//!
//! Bounded: `limits::RETRIES_MAX` reads are under way, so that those that are asked for meanwhile hardly wait, and one
//! probe is, or another beside one that hangs.

use std::time::Duration;

use actix::prelude::*;
use log::info;

use crate::coordinator::messages::ToActor;
use crate::coordinator::registry::Registry;
use crate::coordinator::registry::stale::Cause;
use crate::limits::{RECOVERY_PROBE_HANGS_MS, RECOVERY_PROBE_MS};
use crate::planted::{Plant, is_planted};

/// The time between two slices of retries, in milliseconds.
const RETRIES_REST_MS: u64 = 10;

impl Registry {
    /// Has due balances read again, or asks the ledger first whether it is back; sets its next time.
    pub(super) fn recover(&mut self, ctx: &mut Context<Self>) {
        if self.is_stopping {
            // The first time, a mailbox may have been full.
            self.close_all(ctx);
        }
        if !self.stale.has(Cause::Away) && !self.shared.ledger.standing().is_away() {
            self.is_back = false;
        }
        let now = self.shared.clock.mono();
        let mut has_more = self.retry(Cause::Unfit, ctx);
        let has_answered = |at| now.us_since(at) < RECOVERY_PROBE_MS * 1000;
        if self.answered.is_some_and(has_answered) {
            has_more |= self.retry(Cause::Away, ctx);
        } else {
            self.probe(ctx);
        }
        let wait_ms = if has_more {
            RETRIES_REST_MS
        } else {
            RECOVERY_PROBE_MS
        };
        ctx.run_later(Duration::from_millis(wait_ms), Self::recover);
    }

    /// Asks the ledger whether it is back, while it is known to be away or a user waits for it.
    fn probe(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.mono();
        // One that hangs, on a connection that died with the ledger, does not hold up the next.
        let hangs_us = RECOVERY_PROBE_HANGS_MS * 1000;
        let is_probing = self
            .probed
            .is_some_and(|then| now.us_since(then) < hangs_us);
        let is_needed =
            self.stale.is_due(Cause::Away, now) || self.shared.ledger.standing().is_away();
        if is_probing || !is_needed || is_planted(Plant::NeverRecovered) {
            return;
        }
        self.probed = Some(now);
        let answered = self
            .shared
            .ledger
            .ping()
            .into_actor(self)
            .map(|result, registry, ctx| {
                registry.probed = None;
                let was_back = std::mem::replace(&mut registry.is_back, result.is_ok());
                if result.is_ok() {
                    if !was_back {
                        info!("the ledger answers again");
                    }
                    registry.answered = Some(registry.shared.clock.mono());
                    registry.retry(Cause::Away, ctx);
                }
            });
        ctx.spawn(answered);
    }

    /// Has the users that are due read again, as many as there are turns. Returns whether more are due.
    fn retry(&mut self, cause: Cause, ctx: &Context<Self>) -> bool {
        let now = self.shared.clock.mono();
        while self.stale.is_due(cause, now) {
            let Ok(turn) = self.retries.clone().try_acquire_owned() else {
                return true;
            };
            if let Some(user_id) = self.stale.take_due(cause, now) {
                self.deliver(user_id, ToActor::ReadAgain(turn), ctx);
            }
        }
        false
    }
}
