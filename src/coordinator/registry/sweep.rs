//! The sweep: looks at every resident actor once in `cache.sweep_s`, a slice at a time, so that pushes and answers never
//! wait for more than a slice.
//!
//! It retires idle actors whose balance is older than the TTL, has balances with sessions read again, and enforces the
//! limit of idle actors. A balance is due up to an eighth of the TTL early, by the user's id, so that users who came at one
//! moment are not read at one moment. At most `limits::REVALIDATIONS_MAX` are under way; the next one waits for its turn,
//! and none is passed over.

use std::time::Duration;

use actix::prelude::*;

use crate::coordinator::messages::ToActor;
use crate::coordinator::registry::Registry;
use crate::coordinator::registry::gauge::Gauge;
use crate::domain::UserId;
use crate::limits::SWEEP_SLICE;

/// The least time between two slices, in milliseconds.
const SWEEP_REST_MS: u64 = 10;

impl Registry {
    /// Looks at the next slice, and sets the time of the one after it.
    pub(super) fn sweep(&mut self, ctx: &mut Context<Self>) {
        let (mut looked_at, round_len) = (0, self.roster.round_len());
        while looked_at < SWEEP_SLICE
            && let Some((user_id, gauge)) = self.roster.next()
        {
            if !self.look_at(user_id, &gauge, ctx) {
                self.roster.again();
                break;
            }
            looked_at += 1;
        }
        for _ in 0..SWEEP_SLICE {
            self.evict(0);
        }
        self.count_actors();
        // So long that a round takes `cache.sweep_s`.
        let sweep_ms = self.shared.policy.cache_sweep_ms;
        let wait_ms = match round_len as u64 {
            0 => sweep_ms,
            round_len => (sweep_ms * looked_at as u64 / round_len).max(SWEEP_REST_MS),
        };
        ctx.run_later(Duration::from_millis(wait_ms), Self::sweep);
    }

    /// Returns false when it has to be looked at again.
    fn look_at(&mut self, user_id: UserId, gauge: &Gauge, ctx: &Context<Self>) -> bool {
        // Its message may have been lost.
        let has_slot = self.with_sessions.get(&user_id);
        if has_slot.is_some_and(|slot| slot.can_go(&self.shared)) {
            self.sessions_gone(user_id);
        }
        let ttl_us = self.shared.policy.cache_ttl_us;
        if self.with_sessions.contains_key(&user_id) {
            if self.age_us(gauge) < ttl_us - early_us(user_id, ttl_us) {
                return true;
            }
            let Ok(turn) = self.revalidations.clone().try_acquire_owned() else {
                return false;
            };
            self.deliver(user_id, ToActor::Revalidate(turn), ctx);
        } else if self.age_us(gauge) >= ttl_us
            && let Some(slot) = self.idle.pop(&user_id)
            && let Err(slot) = slot.retire(&self.shared)
        {
            self.idle.put(user_id, slot);
        }
        true
    }

    /// Since when its balance is trusted.
    fn age_us(&self, gauge: &Gauge) -> u64 {
        let since = gauge.verified.get().unwrap_or(gauge.last_used.get());
        self.shared.clock.mono().us_since(since)
    }
}

/// How long before the end of the TTL a user's balance is read again.
fn early_us(user_id: UserId, ttl_us: u64) -> u64 {
    // Fibonacci hashing: neighbours are far apart.
    let hash = user_id
        .get()
        .unsigned_abs()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        >> 32;
    hash % (ttl_us / 8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_far_apart() {
        const TTL_US: u64 = 300_000_000;
        let mut buckets = [0; 10];
        for id in 1..=1000 {
            let early = early_us(UserId::new(id).expect("a user id"), TTL_US);
            buckets[(early * 10 / (TTL_US / 8)) as usize] += 1;
        }
        assert!(
            buckets.iter().all(|count| (50..=150).contains(count)),
            "{buckets:?}"
        );
    }
}
