//! What the parts are made of, taken from the settings.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;

use super::Core;
use crate::canary;
use crate::clock::Clock;
use crate::cluster::joined::{Joined, Process};
use crate::cluster::presence::{self, Presence, Seen};
use crate::cluster::wire::Boot;
use crate::config::{ClusterReads, Settings};
use crate::coordinator::pacing::Intervals;
use crate::coordinator::{Checks, Policy, Recent, Registry, Shared};
use crate::credentials::access::CurrentAccess;
use crate::domain::{Rules, UserId};
use crate::http::problem::RETRY_AFTER_S;
use crate::ledger::{Feed, Options, OwnNode};
use crate::limits::answer_within;
use crate::telemetry::counters::Counters;

/// How often the canary runs on this service, and with what; `None` when it does not run.
pub(super) fn canary_options(
    settings: &Settings,
    access: Arc<CurrentAccess>,
    (url, internal_url): (String, String),
) -> Option<(Duration, canary::Options)> {
    let wanted = &settings.canary;
    let user_id = i64::try_from(wanted.user_id?).ok()?;
    let user_id = UserId::new(user_id).ok()?;
    let watch = Duration::from_secs(wanted.watch_s);
    let (currency, amount) = (&wanted.currency, &wanted.amount);
    let options = canary::Options::new(settings, access, user_id, currency, amount, watch).ok()?;
    let options = canary::Options {
        url,
        internal_url,
        ..options
    };
    (wanted.every_s > 0).then(|| (Duration::from_secs(wanted.every_s), options))
}

pub(super) fn ledger_options(
    settings: &Settings,
    clock: Clock,
    counters: Arc<Counters>,
    feed: Option<Arc<dyn Feed>>,
) -> Options {
    let database = &settings.database;
    Options {
        url: database.url.clone(),
        schema: database.schema.clone(),
        pool_size: u32::try_from(database.pool_size).unwrap_or(u32::MAX),
        writers: database.writers,
        migrate_on_start: database.migrate_on_start,
        timeout_ms: database.timeout_ms,
        lock_timeout_ms: database.lock_timeout_ms,
        conflicts_max: database.conflicts_max.into(),
        currencies: settings.currencies.clone(),
        rules: Rules {
            auto_create: settings.accounts.auto_create,
        },
        clock,
        counters,
        feed,
    }
}

/// This start of this process, as the others see it.
pub(super) fn own_node(settings: &Settings, clock: Clock) -> OwnNode {
    OwnNode {
        node: settings.cluster.node.clone(),
        boot: Boot::random(clock.wall()).as_str().to_owned(),
        build: env!("CARGO_PKG_VERSION").into(),
        has_bus: settings.cluster.is_on(),
        sessions: 0,
    }
}

/// What this process needs to join the bus.
pub(super) fn process(settings: &Settings, core: &Core, registry: Addr<Registry>) -> Process {
    Process {
        currencies: settings.currencies.clone(),
        clock: core.clock,
        counters: core.counters.clone(),
        registry,
        coverage: core.coverage.clone(),
        ledger: core.ledger.clone(),
        overview: core.overview.clone(),
    }
}

/// This process's row among those that use the ledger; `None` where there can't be others.
pub(super) fn presence(core: &Core, joined: Option<&Joined>) -> Option<Presence> {
    let (ledger, counters) = (core.ledger.clone(), core.counters.clone());
    let (overview, coverage, clock) = (core.overview.clone(), core.coverage.clone(), core.clock);
    let mut take: Seen = match joined.map(Joined::table) {
        Some(table) => Box::new(move |found, began| {
            // A table that is old is of no use by itself.
            if let Ok(nodes) = found {
                table(&nodes, began);
            }
        }),
        None => presence::without_bus(coverage.clone(), counters.clone(), clock),
    };
    let own = overview.own().clone();
    let seen: Seen = Box::new(move |found, began| {
        if let Ok(nodes) = &found {
            overview.saw(&nodes.others);
            coverage.set_first(nodes.is_first);
        }
        take(found, began);
    });
    core.ledger
        .may_be_shared()
        .then(|| Presence::new(ledger, counters, clock, own, seen))
}

/// What the registry and all actors share.
pub(super) fn shared(settings: &Settings, core: &Core) -> Shared {
    let (pacing, cache, cluster) = (&settings.pacing, &settings.cache, &settings.cluster);
    let policy = Policy {
        intervals: Intervals {
            debounce_us: pacing.debounce_ms * 1000,
            min_interval_us: pacing.min_interval_ms * 1000,
            direct_interval_us: pacing.direct_interval_ms * 1000,
        },
        direct_kinds: pacing.direct_kinds.clone(),
        cache_ttl_us: cache.ttl_s * 1_000_000,
        cache_entries_max: cache.max_entries,
        cache_sweep_ms: cache.sweep_s * 1000,
        sessions_per_user_max: settings.limits.sessions_per_user,
        answer_within: answer_within(Duration::from_millis(settings.database.timeout_ms)),
        reads_ask_ledger: cluster.is_on() && cluster.reads == ClusterReads::Ledger,
        checks: core.ledger.may_be_shared().then_some(Checks {
            every_ms: cluster.check_s * 1000,
            users_per_s: cluster.check_users_per_s,
        }),
        retry_after_ms: RETRY_AFTER_S * 1000,
    };
    Shared {
        ledger: core.ledger.clone(),
        clock: core.clock,
        currencies: settings.currencies.clone(),
        policy,
        counters: core.counters.clone(),
        coverage: core.coverage.clone(),
        recent: Recent::default(),
    }
}
