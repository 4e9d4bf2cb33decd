//! Entries that another process committed: heard of from it, or found by a check of versions.

use actix::prelude::*;

use crate::clock::{Moment, Wall};
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::heard::{HeardCommit, HeardEntries};
use crate::coordinator::messages::{CommittedEntry, Missed};
use crate::coordinator::registry::stale::Gap;
use crate::domain::Kind;
use crate::ledger::MissedEntry;
use crate::planted::{Plant, is_planted};

impl BalanceActor {
    /// Takes in what another process has told. Its versions say what it is worth: it may be late, doubled, or have others
    /// missing before it.
    pub(super) fn heard(&mut self, commit: HeardCommit, ctx: &mut Context<Self>) {
        let HeardCommit {
            version_from,
            version_to,
            balances,
            entries,
            committed_at,
            age_us,
            ..
        } = commit;
        // By this machine's clocks: that of the other node may differ.
        let now = self.shared.clock.now();
        let since_us = age_us.min(self.shared.policy.intervals.min_interval_us);
        let committed = Moment {
            mono: now.mono.minus_us(since_us),
            wall: committed_at.min(now.wall),
        };
        let known = self.cache.known().map(|known| known.account.version);
        if known.is_none_or(|known| known < version_to) {
            self.note_gap_before(version_from + 1);
            self.cache.committed(version_to, balances, committed);
            self.gauge.version.update(|known| known.max(version_to));
            // No verification: the message may have been late on the bus, and others missing since before it came.
            self.is_hearsay |= known.is_none();
        }
        if let (Some(live), Some(known)) = (&mut self.live, self.cache.known()) {
            for HeardEntries { kind, source, .. } in &entries {
                let mode = self.shared.mode_of(*kind);
                live.pending.note(version_to, mode, committed, source);
            }
            live.pending.ensure_base(&known.account);
        }
        self.answer_version_waiters(ctx);
        self.tell_committed(ctx);
    }

    /// Takes them in with their kinds, so that a deposit is pushed at once though it was missed.
    pub(super) fn missed(&mut self, missed: Missed, ctx: &mut Context<Self>) {
        let Missed { entries, epoch } = missed;
        if epoch != self.cache.epoch().number {
            return;
        }
        let Some(mut account) = self.cache.known().map(|known| known.account.clone()) else {
            // Its first read brings all of it.
            return;
        };
        let has_news = entries
            .last()
            .is_none_or(|newest| newest.version > account.version);
        if has_news {
            self.shared.counters.cluster.healed.inc();
        }
        if entries.is_empty() {
            self.read_missed(ctx);
        }
        for entry in entries {
            if entry.version <= account.version {
                // Its state is known; what it was may not have been.
                self.note_kind(&entry);
                continue;
            }
            if entry.version != account.version + 1 {
                // What lies between comes with the state.
                self.read_missed(ctx);
                break;
            }
            account.version = entry.version;
            account.balances.set(entry.currency, entry.balance_after);
            let committed = CommittedEntry {
                event_id: entry.event_id,
                version: entry.version,
                balances: account.balances.clone(),
                committed_at: Wall::from_us(entry.committed_at_us),
                kind: healed_kind(entry.kind),
                currency: entry.currency,
                amount: entry.amount,
                source: entry.source,
                request: None,
            };
            self.learn(committed, ctx);
        }
        self.tell_committed(ctx);
    }

    /// Has it pushed as its kind wants it, unless every session has been sent its state.
    fn note_kind(&mut self, entry: &MissedEntry) {
        let committed = self.shared.moment_of(Wall::from_us(entry.committed_at_us));
        let mode = self.shared.mode_of(healed_kind(entry.kind));
        if let Some(live) = &mut self.live {
            live.pending
                .note(entry.version, mode, committed, &entry.source);
        }
    }

    /// Notes that entries before this version have not been heard of, for a push that their kinds decide.
    pub(super) fn note_gap_before(&self, version: i64) {
        let known = self.cache.known().map(|known| known.account.version);
        if self.live.is_some()
            && !is_planted(Plant::VersionGapForgotten)
            && !self.shared.coverage.is_alone()
            && let Some(from) = known.filter(|known| known + 1 < version)
        {
            self.stale.note_gap(Gap {
                user_id: self.user_id,
                from,
                seen: self.shared.clock.mono(),
            });
        }
    }
}

/// The kind that decides how an entry that was missed is pushed.
fn healed_kind(kind: Kind) -> Kind {
    if is_planted(Plant::HealedPaced) {
        Kind::Reward
    } else {
        kind
    }
}
