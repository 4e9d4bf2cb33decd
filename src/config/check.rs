//! The bounds of every value: what sizes memory or waits has a cap, and zero is refused where it makes no sense.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::config::error::ConfigError;
use crate::config::secret::{SECRET_CHARS_MAX, Secret};
use crate::config::settings::{Auth, Limits, Server, Settings};
use crate::domain::Amount;

use super::settings::WORKERS_MAX;

/// How long stopping may take, in seconds.
const SHUTDOWN_TIMEOUT_S_MAX: u64 = 600;
/// Browser origins.
const ALLOWED_ORIGINS_MAX: usize = 256;
/// Characters of one origin.
const ORIGIN_CHARS_MAX: usize = 256;
/// Connections for reads.
const POOL_CONNECTIONS_MAX: usize = 256;
/// Ledger writers, each with a thread and a connection.
const WRITERS_MAX: usize = 64;
/// Longest wait for the ledger, in milliseconds.
const LEDGER_TIMEOUT_MS_MAX: u64 = 60_000;
/// Longest pause of pacing, in milliseconds: an hour.
const PACING_MS_MAX: u64 = 3_600_000;
/// Longest trust in a cached balance, in seconds: a day.
const CACHE_AGE_S_MAX: u64 = 86_400;
/// Resident balance actors without a session, of about 1 KiB each.
const CACHE_ENTRIES_MAX: usize = 5_000_000;
/// Longest time between two sweeps, in seconds: an hour.
const CACHE_SWEEP_S_MAX: u64 = 3_600;
/// Secrets of one kind; each costs a verification per request.
const SECRETS_MAX: usize = 16;
/// Fewest bytes of a session secret: as many as HS256 puts out.
const SESSION_SECRET_BYTES_MIN: usize = 32;
/// Administrators.
const ADMIN_TOKENS_MAX: usize = 64;
/// Characters of an administrator's name.
const ADMIN_NAME_CHARS_MAX: usize = 64;
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
/// Users that are checked each second.
const AUDIT_USERS_PER_S_MAX: u64 = 100_000;
/// Sessions of one user.
const SESSIONS_PER_USER_MAX: usize = 1_024;
/// Sessions of one process.
const SESSIONS_MAX: usize = 1_000_000;
/// Bytes of one message of a browser; the fewest still hold a ping.
const WS_MESSAGE_BYTES: RangeInclusive<u64> = 64..=1 << 20;
/// Messages of one browser, per second and at once.
const WS_MESSAGES_MAX: u32 = 100_000;
/// Longest wait for a peer, in milliseconds: an hour.
const PEER_TIMEOUT_MS_MAX: u64 = 3_600_000;
/// Shortest heartbeat, in milliseconds.
const HEARTBEAT_MS_MIN: u64 = 10;
/// Bytes of the body of a single entry.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of the body of a batch, and so of anything that is ever signed.
pub const SIGNED_BODY_BYTES_MAX: usize = 256 << 20;
/// Entries of one batch.
const BATCH_ENTRIES_MAX: usize = 100_000;
/// Entries that wait for the ledger, of some hundred bytes each.
const QUEUE_ENTRIES_MAX: usize = 4 << 20;

/// Checks every value.
///
/// # Errors
/// [`ConfigError::Invalid`] for the first that is impossible, by its full key.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    let all = core_ranges(settings)
        .into_iter()
        .chain(limit_ranges(&settings.limits));
    for (key, value, range) in all {
        if !range.contains(&value) {
            let reason = format!("must be {} to {}, is {value}", range.start(), range.end());
            return Err(ConfigError::invalid(key, reason));
        }
    }
    if settings.database.url.is_sqlite() && settings.database.writers > 1 {
        return Err(ConfigError::invalid(
            "database.writers",
            "must be 1 on SQLite, which has one writer",
        ));
    }
    check_canary(settings)?;
    check_server(&settings.server)?;
    check_auth(&settings.auth)
}

/// A key, its value and what is possible.
pub(super) type Range = (&'static str, u64, RangeInclusive<u64>);

/// The numbers of all sections but `limits`, and how many they may be.
pub(super) fn core_ranges(settings: &Settings) -> Vec<Range> {
    let Settings {
        server,
        database,
        pacing,
        cache,
        client_cache,
        auth,
        audit,
        canary,
        ..
    } = settings;
    vec![
        (
            "server.workers",
            server.workers as u64,
            1..=WORKERS_MAX as u64,
        ),
        (
            "server.shutdown_timeout_s",
            server.shutdown_timeout_s,
            1..=SHUTDOWN_TIMEOUT_S_MAX,
        ),
        (
            "database.pool_size",
            database.pool_size as u64,
            1..=POOL_CONNECTIONS_MAX as u64,
        ),
        (
            "database.writers",
            database.writers as u64,
            1..=WRITERS_MAX as u64,
        ),
        (
            "database.timeout_ms",
            database.timeout_ms,
            1..=LEDGER_TIMEOUT_MS_MAX,
        ),
        (
            "database.lock_timeout_ms",
            database.lock_timeout_ms,
            1..=LEDGER_TIMEOUT_MS_MAX,
        ),
        ("pacing.debounce_ms", pacing.debounce_ms, 0..=PACING_MS_MAX),
        (
            "pacing.min_interval_ms",
            pacing.min_interval_ms,
            0..=PACING_MS_MAX,
        ),
        (
            "pacing.direct_interval_ms",
            pacing.direct_interval_ms,
            0..=PACING_MS_MAX,
        ),
        ("cache.ttl_s", cache.ttl_s, 0..=CACHE_AGE_S_MAX),
        (
            "cache.max_entries",
            cache.max_entries as u64,
            1..=CACHE_ENTRIES_MAX as u64,
        ),
        ("cache.sweep_s", cache.sweep_s, 1..=CACHE_SWEEP_S_MAX),
        (
            "client_cache.ttl_s",
            client_cache.ttl_s,
            0..=CACHE_AGE_S_MAX,
        ),
        (
            "client_cache.stale_while_revalidate_s",
            client_cache.stale_while_revalidate_s,
            0..=CACHE_AGE_S_MAX,
        ),
        (
            "client_cache.min_age_s",
            client_cache.min_age_s,
            0..=CACHE_AGE_S_MAX,
        ),
        (
            "auth.telegram_bot_id",
            auth.telegram_bot_id.unwrap_or(1),
            1..=TELEGRAM_BOT_ID_MAX,
        ),
        (
            "auth.telegram_max_age_s",
            auth.telegram_max_age_s,
            1..=TELEGRAM_AGE_S_MAX,
        ),
        (
            "auth.session_ttl_s",
            auth.session_ttl_s,
            1..=SESSION_TTL_S_MAX,
        ),
        (
            "auth.webhook_tolerance_s",
            auth.webhook_tolerance_s,
            1..=WEBHOOK_TOLERANCE_S_MAX,
        ),
        ("canary.every_s", canary.every_s, 0..=CANARY_S_MAX),
        (
            "canary.user_id",
            canary.user_id.unwrap_or(1),
            1..=USER_ID_MAX,
        ),
        ("canary.watch_s", canary.watch_s, 0..=CANARY_S_MAX),
        (
            "audit.users_per_s",
            audit.users_per_s,
            0..=AUDIT_USERS_PER_S_MAX,
        ),
    ]
}

/// The numbers of `limits`, and how many they may be.
pub(super) fn limit_ranges(limits: &Limits) -> Vec<Range> {
    vec![
        (
            "limits.sessions_per_user",
            limits.sessions_per_user as u64,
            1..=SESSIONS_PER_USER_MAX as u64,
        ),
        (
            "limits.sessions",
            limits.sessions as u64,
            1..=SESSIONS_MAX as u64,
        ),
        (
            "limits.ws_message_bytes",
            limits.ws_message_bytes as u64,
            WS_MESSAGE_BYTES,
        ),
        (
            "limits.ws_messages_per_s",
            limits.ws_messages_per_s.into(),
            1..=WS_MESSAGES_MAX.into(),
        ),
        (
            "limits.ws_messages_burst",
            limits.ws_messages_burst.into(),
            1..=WS_MESSAGES_MAX.into(),
        ),
        (
            "limits.auth_timeout_ms",
            limits.auth_timeout_ms,
            1..=PEER_TIMEOUT_MS_MAX,
        ),
        (
            "limits.heartbeat_ms",
            limits.heartbeat_ms,
            HEARTBEAT_MS_MIN..=PEER_TIMEOUT_MS_MAX,
        ),
        (
            "limits.idle_timeout_ms",
            limits.idle_timeout_ms,
            HEARTBEAT_MS_MIN..=PEER_TIMEOUT_MS_MAX,
        ),
        (
            "limits.write_timeout_ms",
            limits.write_timeout_ms,
            1..=PEER_TIMEOUT_MS_MAX,
        ),
        (
            "limits.body_bytes",
            limits.body_bytes as u64,
            1..=BODY_BYTES_MAX as u64,
        ),
        (
            "limits.batch_body_bytes",
            limits.batch_body_bytes as u64,
            1..=SIGNED_BODY_BYTES_MAX as u64,
        ),
        (
            "limits.batch_entries",
            limits.batch_entries as u64,
            1..=BATCH_ENTRIES_MAX as u64,
        ),
        (
            "limits.queue_entries",
            limits.queue_entries as u64,
            1..=QUEUE_ENTRIES_MAX as u64,
        ),
    ]
}

fn check_canary(settings: &Settings) -> Result<(), ConfigError> {
    let canary = &settings.canary;
    // Both are shown as they are, so they are nothing else even while nobody uses them.
    if !canary
        .currency
        .bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    {
        return Err(ConfigError::invalid(
            "canary.currency",
            "must be the code of a currency",
        ));
    }
    if !canary
        .amount
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'.')
    {
        return Err(ConfigError::invalid(
            "canary.amount",
            "must be an amount above zero",
        ));
    }
    if canary.every_s == 0 {
        return Ok(());
    }
    if canary.user_id.is_none() {
        return Err(ConfigError::invalid(
            "canary.user_id",
            "must be set, because canary.every_s is",
        ));
    }
    let Some(currency) = settings.currencies.find(&canary.currency) else {
        return Err(ConfigError::invalid("canary.currency", "does not exist"));
    };
    let decimals = settings.currencies.get(currency).decimals;
    match Amount::parse(&canary.amount, decimals) {
        Ok(amount) if amount.minor() > 0 => Ok(()),
        _ => Err(ConfigError::invalid(
            "canary.amount",
            "must be an amount of its currency above zero",
        )),
    }
}

fn check_server(server: &Server) -> Result<(), ConfigError> {
    if server.public_addr == server.internal_addr && server.public_addr.port() != 0 {
        return Err(ConfigError::invalid(
            "server.internal_addr",
            "must differ from server.public_addr",
        ));
    }
    at_most(
        "server.allowed_origins",
        server.allowed_origins.len(),
        ALLOWED_ORIGINS_MAX,
    )?;
    for (index, origin) in server.allowed_origins.iter().enumerate() {
        if origin != "*" && !is_origin(origin) {
            let reason =
                "must be * or an origin as browsers send it, such as https://app.example.org";
            return Err(ConfigError::invalid(
                format!("server.allowed_origins[{index}]"),
                reason,
            ));
        }
    }
    Ok(())
}

/// `scheme://host` or `scheme://host:port`, in lower case and without a path.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let in_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let in_host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_:[]".contains(&b);
    let well_spelled = scheme.bytes().all(in_scheme) && host.bytes().all(in_host);
    !scheme.is_empty() && !host.is_empty() && well_spelled && text.len() <= ORIGIN_CHARS_MAX
}

fn check_auth(auth: &Auth) -> Result<(), ConfigError> {
    at_most(
        "auth.webhook_secrets",
        auth.webhook_secrets.len(),
        SECRETS_MAX,
    )?;
    at_most(
        "auth.session_secrets",
        auth.session_secrets.len(),
        SECRETS_MAX,
    )?;
    at_most(
        "auth.admin_tokens",
        auth.admin_tokens.len(),
        ADMIN_TOKENS_MAX,
    )?;
    for (index, secret) in auth.session_secrets.iter().enumerate() {
        if !(SESSION_SECRET_BYTES_MIN..=SECRET_CHARS_MAX).contains(&secret.expose().len()) {
            let reason = format!("must be {SESSION_SECRET_BYTES_MIN} to {SECRET_CHARS_MAX} bytes");
            return Err(ConfigError::invalid(
                format!("auth.session_secrets[{index}]"),
                reason,
            ));
        }
    }
    let mut names = BTreeSet::new();
    for (index, admin) in auth.admin_tokens.iter().enumerate() {
        let key = format!("auth.admin_tokens[{index}]");
        check_token(&key, &admin.token)?;
        let fits = admin.name.len() <= ADMIN_NAME_CHARS_MAX
            && admin.name.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if !fits || !names.insert(&admin.name) {
            let reason = format!(
                "its name must be 1 to {ADMIN_NAME_CHARS_MAX} ASCII characters and used once"
            );
            return Err(ConfigError::invalid(key, reason));
        }
    }
    for (key, token) in [
        ("auth.metrics_token", &auth.metrics_token),
        ("auth.telegram_bot_token", &auth.telegram_bot_token),
    ] {
        token
            .as_ref()
            .map_or(Ok(()), |token| check_token(key, token))?;
    }
    check_telegram(auth)
}

fn check_telegram(auth: &Auth) -> Result<(), ConfigError> {
    if let Some(id) = auth.telegram_bot_id {
        // A token begins with its bot's id, which is no secret.
        let of_token = auth
            .telegram_bot_token
            .as_ref()
            .and_then(|token| token.expose().split(':').next());
        if of_token.is_some_and(|bot| bot != id.to_string()) {
            return Err(ConfigError::invalid(
                "auth.telegram_bot_id",
                "is not that of auth.telegram_bot_token",
            ));
        }
    }
    let is_on = auth.telegram_bot_token.is_some() || auth.telegram_bot_id.is_some();
    if is_on && auth.telegram_identity.is_none() {
        let reason = "must be set to \"user_id\" or \"linked\", because sign-in by Telegram is on";
        return Err(ConfigError::invalid("auth.telegram_identity", reason));
    }
    Ok(())
}

/// A token has to fit into an HTTP header.
fn check_token(key: &str, token: &Secret) -> Result<(), ConfigError> {
    let text = token.expose();
    if text.is_empty()
        || text.len() > SECRET_CHARS_MAX
        || !text.bytes().all(|b| b.is_ascii_graphic())
    {
        let reason =
            format!("must be 1 to {SECRET_CHARS_MAX} printable ASCII characters without spaces");
        return Err(ConfigError::invalid(key, reason));
    }
    Ok(())
}

fn at_most(key: &str, count: usize, max: usize) -> Result<(), ConfigError> {
    if count > max {
        Err(ConfigError::invalid(
            key,
            format!("must have at most {max} items"),
        ))
    } else {
        Ok(())
    }
}
