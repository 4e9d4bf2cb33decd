//! The bounds of every number: what sizes memory or waits has a cap, and zero is refused where it makes no sense.

use std::ops::RangeInclusive;

use crate::config::settings::{Settings, WORKERS_MAX};

/// How long stopping may take, in seconds.
const SHUTDOWN_TIMEOUT_S_MAX: u64 = 600;
/// How long an idle connection may be kept, in seconds.
const KEEP_ALIVE_S_MAX: u64 = 3_600;
/// Connections for reads.
const POOL_CONNECTIONS_MAX: u64 = 256;
/// Ledger writers, each with a thread and a connection.
const WRITERS_MAX: u64 = 64;
/// Longest wait for the ledger, in milliseconds.
const LEDGER_TIMEOUT_MS_MAX: u64 = 60_000;
/// Refused entries that are kept, of at most 5 KiB each.
const CONFLICTS_MAX: u64 = 10_000_000;
/// Longest pause of pacing, in milliseconds: an hour.
const PACING_MS_MAX: u64 = 3_600_000;
/// Longest trust in a cached balance, in seconds: a day.
const CACHE_AGE_S_MAX: u64 = 86_400;
/// Resident balance actors without a session, of about 1 KiB each.
const CACHE_ENTRIES_MAX: u64 = 5_000_000;
/// Longest time between two sweeps, in seconds: an hour.
const CACHE_SWEEP_S_MAX: u64 = 3_600;
/// Oldest sign-in by Telegram, in seconds: a week.
const TELEGRAM_AGE_S_MAX: u64 = 604_800;
/// Largest id of a Telegram bot: 2^53 − 1, like that of any user there.
const TELEGRAM_BOT_ID_MAX: u64 = (1 << 53) - 1;
/// Longest life of a session token, in seconds: a year.
pub const SESSION_TTL_S_MAX: u64 = 31_536_000;
/// Widest tolerance of a webhook's timestamp, in seconds: a day.
const WEBHOOK_TOLERANCE_S_MAX: u64 = 86_400;
/// Largest user id: 2^53 − 1.
const USER_ID_MAX: u64 = (1 << 53) - 1;
/// Longest time between two runs of the canary, and longest watch, in seconds: a day.
const CANARY_S_MAX: u64 = 86_400;
/// Requests to the API of the chain, per second.
const WATCHER_REQUESTS_PER_S_MAX: u64 = 1_000;
/// Longest wait between two pages, in milliseconds: an hour.
const WATCHER_POLL_MS_MAX: u64 = 3_600_000;
/// Users that are checked each second.
const AUDIT_USERS_PER_S_MAX: u64 = 100_000;
/// Time between two beats of a node, in milliseconds.
const BEAT_MS: RangeInclusive<u64> = 10..=10_000;
/// Longest silence of a node, in milliseconds; the shortest is three of the shortest beats.
const SILENCE_MS: RangeInclusive<u64> = 30..=60_000;
/// Longest time between two checks of users with sessions, in seconds: an hour.
const CLUSTER_CHECK_S_MAX: u64 = 3_600;
/// Users that are checked each second while a node is not heard of.
const CLUSTER_CHECK_USERS_PER_S_MAX: u64 = 1_000_000;
/// Sessions of one user.
const SESSIONS_PER_USER_MAX: u64 = 1_024;
/// Sessions of one process.
const SESSIONS_MAX: u64 = 1_000_000;
/// Bytes of one message of a browser; the fewest still hold a ping.
const WS_MESSAGE_BYTES: RangeInclusive<u64> = 64..=1 << 20;
/// Messages of one browser, per second and at once.
const WS_MESSAGES_MAX: u64 = 100_000;
/// Requests of one user on `/api`, per second and at once.
const API_REQUESTS_MAX: u64 = 1_000_000;
/// Longest wait for a peer, in milliseconds: an hour.
const PEER_TIMEOUT_MS_MAX: u64 = 3_600_000;
/// Shortest heartbeat, in milliseconds.
const HEARTBEAT_MS_MIN: u64 = 10;
/// Bytes of the body of a single entry.
const BODY_BYTES_MAX: u64 = 16 << 20;
/// Bytes of the body of a batch, and so of anything that is ever signed.
pub const SIGNED_BODY_BYTES_MAX: usize = 256 << 20;
/// Entries of one batch.
const BATCH_ENTRIES_MAX: u64 = 100_000;
/// Entries that wait for the ledger, of some hundred bytes each.
const QUEUE_ENTRIES_MAX: u64 = 4 << 20;

/// A full key, its value and the values that are possible.
pub(super) type Range = (&'static str, u64, RangeInclusive<u64>);

/// One row per line: `section.key in range`.
macro_rules! rows {
    ($settings:ident: $($section:ident.$key:ident in $range:expr;)*) => {
        vec![$((
            concat!(stringify!($section), ".", stringify!($key)),
            $settings.$section.$key as u64,
            $range,
        )),*]
    };
}

/// Every number of the settings; one that is not set counts as 1.
pub(super) fn ranges(settings: &Settings) -> Vec<Range> {
    let mut ranges = rows! { settings:
        server.workers in 1..=WORKERS_MAX as u64;
        server.shutdown_timeout_s in 1..=SHUTDOWN_TIMEOUT_S_MAX;
        server.keep_alive_s in 1..=KEEP_ALIVE_S_MAX;
        database.pool_size in 1..=POOL_CONNECTIONS_MAX;
        database.writers in 1..=WRITERS_MAX;
        database.timeout_ms in 1..=LEDGER_TIMEOUT_MS_MAX;
        database.lock_timeout_ms in 1..=LEDGER_TIMEOUT_MS_MAX;
        database.conflicts_max in 1..=CONFLICTS_MAX;
        pacing.debounce_ms in 0..=PACING_MS_MAX;
        pacing.min_interval_ms in 0..=PACING_MS_MAX;
        pacing.direct_interval_ms in 0..=PACING_MS_MAX;
        cache.ttl_s in 0..=CACHE_AGE_S_MAX;
        cache.max_entries in 1..=CACHE_ENTRIES_MAX;
        cache.sweep_s in 1..=CACHE_SWEEP_S_MAX;
        client_cache.ttl_s in 0..=CACHE_AGE_S_MAX;
        client_cache.stale_while_revalidate_s in 0..=CACHE_AGE_S_MAX;
        client_cache.min_age_s in 0..=CACHE_AGE_S_MAX;
        auth.telegram_max_age_s in 1..=TELEGRAM_AGE_S_MAX;
        auth.session_ttl_s in 1..=SESSION_TTL_S_MAX;
        auth.webhook_tolerance_s in 1..=WEBHOOK_TOLERANCE_S_MAX;
        canary.every_s in 0..=CANARY_S_MAX;
        canary.watch_s in 0..=CANARY_S_MAX;
        cluster.beat_ms in BEAT_MS;
        cluster.silence_ms in SILENCE_MS;
        cluster.check_s in 1..=CLUSTER_CHECK_S_MAX;
        cluster.check_users_per_s in 1..=CLUSTER_CHECK_USERS_PER_S_MAX;
        watcher.requests_per_s in 1..=WATCHER_REQUESTS_PER_S_MAX;
        watcher.poll_ms in 1..=WATCHER_POLL_MS_MAX;
        audit.users_per_s in 0..=AUDIT_USERS_PER_S_MAX;
        limits.sessions_per_user in 1..=SESSIONS_PER_USER_MAX;
        limits.sessions in 1..=SESSIONS_MAX;
        limits.ws_message_bytes in WS_MESSAGE_BYTES;
        limits.ws_messages_per_s in 1..=WS_MESSAGES_MAX;
        limits.ws_messages_burst in 1..=WS_MESSAGES_MAX;
        limits.auth_timeout_ms in 1..=PEER_TIMEOUT_MS_MAX;
        limits.heartbeat_ms in HEARTBEAT_MS_MIN..=PEER_TIMEOUT_MS_MAX;
        limits.idle_timeout_ms in HEARTBEAT_MS_MIN..=PEER_TIMEOUT_MS_MAX;
        limits.write_timeout_ms in 1..=PEER_TIMEOUT_MS_MAX;
        limits.api_requests_per_s in 1..=API_REQUESTS_MAX;
        limits.api_requests_burst in 1..=API_REQUESTS_MAX;
        limits.body_bytes in 1..=BODY_BYTES_MAX;
        limits.batch_body_bytes in 1..=SIGNED_BODY_BYTES_MAX as u64;
        limits.batch_entries in 1..=BATCH_ENTRIES_MAX;
        limits.queue_entries in 1..=QUEUE_ENTRIES_MAX;
    };
    for (key, value, max) in [
        (
            "auth.telegram_bot_id",
            settings.auth.telegram_bot_id,
            TELEGRAM_BOT_ID_MAX,
        ),
        ("canary.user_id", settings.canary.user_id, USER_ID_MAX),
    ] {
        ranges.push((key, value.unwrap_or(1), 1..=max));
    }
    ranges
}
