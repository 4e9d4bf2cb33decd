//! Checks every value: numbers by their bounds (`bounds.rs`), and all else by the rules that are here.

use std::collections::BTreeSet;

use crate::config::bounds::ranges;
use crate::config::error::ConfigError;
use crate::config::secret::{SECRET_CHARS_MAX, Secret};
use crate::config::settings::{Auth, Server, Settings};
use crate::domain::Amount;

/// Browser origins.
const ALLOWED_ORIGINS_MAX: usize = 256;
/// Networks of proxies; each address of a request is compared with all of them.
const TRUSTED_PROXIES_MAX: usize = 256;
/// Secrets of one kind; each costs a verification per request.
const SECRETS_MAX: usize = 16;
/// Fewest bytes of a session secret: the length of HS256's output.
const SESSION_SECRET_BYTES_MIN: usize = 32;
/// Characters of a claim's name.
const CLAIM_CHARS_MAX: usize = 64;
/// Claims that have another meaning (RFC 7519, section 4.1), and so can't name the user.
const CLAIMS_TAKEN: [&str; 6] = ["aud", "exp", "iat", "iss", "jti", "nbf"];
/// Administrators.
const ADMIN_TOKENS_MAX: usize = 64;
/// Characters of an administrator's name.
const ADMIN_NAME_CHARS_MAX: usize = 64;

/// Checks every value.
///
/// # Errors
/// [`ConfigError::Invalid`] for the first that is impossible, by its full key.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    for (key, value, range) in ranges(settings) {
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
    settings.cluster.check(&settings.database.url)?;
    check_canary(settings)?;
    check_server(&settings.server)?;
    check_auth(&settings.auth)
}

fn check_canary(settings: &Settings) -> Result<(), ConfigError> {
    let canary = &settings.canary;
    // Pages show both as they are, so both are checked even while the canary is off.
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
    at_most(
        "server.trusted_proxies",
        server.trusted_proxies.len(),
        TRUSTED_PROXIES_MAX,
    )
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
    let claim = auth.session_user_claim.as_str();
    if claim.is_empty() || claim.chars().count() > CLAIM_CHARS_MAX || CLAIMS_TAKEN.contains(&claim)
    {
        let taken = CLAIMS_TAKEN.join(", ");
        let reason = format!(
            "must be the name of a claim, of 1 to {CLAIM_CHARS_MAX} characters and none of {taken}"
        );
        return Err(ConfigError::invalid("auth.session_user_claim", reason));
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
