//! Risks in the settings themselves.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::config::dev::DEV_FILE;
use crate::config::{DatabaseUrl, Settings};

use super::Finding;
use super::Severity::{High, Low, Medium};

/// Minutes of tolerance that a clock may need.
const TOLERANCE_S_USUAL: u64 = 600;

pub(super) fn of_settings(settings: &Settings, file: Option<&Path>) -> Vec<Finding> {
    let mut found = caches(settings);
    found.extend(listeners(settings));
    found.extend(secrets(settings, file));
    found.extend(ledger(settings));
    let warnings = settings.warnings().into_iter();
    found.extend(warnings.map(|text| {
        let (key, why) = text.split_once(": ").unwrap_or((text, ""));
        Finding::new(
            "setting",
            Low,
            "A setting is probably a mistake",
            format!("{key}: {why}"),
            "Change it, unless there is a reason for it.",
        )
    }));
    found
}

fn caches(settings: &Settings) -> Vec<Finding> {
    let (cache, client, pacing) = (&settings.cache, &settings.client_cache, &settings.pacing);
    let mut found = Vec::new();
    if client.ttl_s + client.stale_while_revalidate_s > cache.ttl_s {
        found.push(Finding::new(
            "setting",
            Medium,
            "Browsers trust a balance longer than the service does",
            format!(
                "client_cache.ttl_s {} + client_cache.stale_while_revalidate_s {} > cache.ttl_s {}",
                client.ttl_s, client.stale_while_revalidate_s, cache.ttl_s
            ),
            "Keep the browsers' lifetime within that of the service.",
        ));
    }
    if client.min_age_s * 1000 > pacing.debounce_ms {
        found.push(Finding::new("setting", 
            Low,
            "A page may refuse to fetch again for longer than a paced push waits",
            format!("client_cache.min_age_s {} s > pacing.debounce_ms {} ms", client.min_age_s, pacing.debounce_ms),
            "Harmless while the page's WebSocket is open, since pushes outdate its cache; lower min_age_s for pages that only read over HTTP.",
        ));
    }
    if pacing.debounce_ms > pacing.min_interval_ms {
        found.push(Finding::new(
            "setting",
            Medium,
            "The debounce is longer than the longest wait, which always ends it",
            format!(
                "pacing.debounce_ms {} > pacing.min_interval_ms {}",
                pacing.debounce_ms, pacing.min_interval_ms
            ),
            "Lower pacing.debounce_ms.",
        ));
    }
    if cache.ttl_s == 0 {
        found.push(Finding::new(
            "setting",
            Low,
            "No balance is answered from memory",
            "cache.ttl_s 0",
            "Set it, unless every read has to ask the ledger.",
        ));
    }
    found
}

fn listeners(settings: &Settings) -> Vec<Finding> {
    let server = &settings.server;
    let mut found = Vec::new();
    let everywhere = |address: &SocketAddr| address.ip().is_unspecified();
    if server.allowed_origins.iter().any(|origin| origin == "*") {
        found.push(Finding::new(
            "setting",
            High,
            "Every website may open sessions and read balances with a user's token",
            "server.allowed_origins has *",
            "Name the origins of your pages.",
        ));
    } else if everywhere(&server.public_addr) && server.allowed_origins.is_empty() {
        found.push(Finding::new(
            "setting",
            Medium,
            "The public listener is on all interfaces and names no origins",
            format!(
                "server.public_addr {}, server.allowed_origins []",
                server.public_addr
            ),
            "Listen where only the proxy comes, and name the origins of your pages.",
        ));
    }
    if !is_private(server.internal_addr.ip()) {
        found.push(Finding::new(
            "setting",
            High,
            "Webhooks and administration can be reached from other networks",
            format!("server.internal_addr {}", server.internal_addr),
            "Listen on loopback or on a private address, or block other networks by a firewall.",
        ));
        if settings.auth.metrics_token.is_none() {
            found.push(Finding::new("setting", 
                Low,
                "Anyone who reaches the internal listener can read the metrics",
                "auth.metrics_token is not set, and the internal listener is not on a private address",
                "Set auth.metrics_token.",
            ));
        }
    }
    found
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn secrets(settings: &Settings, file: Option<&Path>) -> Vec<Finding> {
    let auth = &settings.auth;
    let mut found = Vec::new();
    if file
        .and_then(Path::file_name)
        .is_some_and(|name| name == DEV_FILE)
    {
        found.push(Finding::new(
            "setting",
            Medium,
            "The secrets are those of development",
            format!("the configuration is {DEV_FILE}"),
            "Fine on a developer's machine; make others for anything else.",
        ));
    }
    let unnamed = auth
        .admin_tokens
        .iter()
        .filter(|admin| admin.name.starts_with("admin-"))
        .count();
    if unnamed > 0 {
        found.push(Finding::new(
            "setting",
            Low,
            "The admin log can't name the administrator",
            format!(
                "{unnamed} of {} in auth.admin_tokens have no name",
                auth.admin_tokens.len()
            ),
            "Give each administrator a token with a name: { name = \"alice\", token = \"…\" }.",
        ));
    }
    let missing = [
        ("auth.webhook_secrets", auth.webhook_secrets.is_empty()),
        ("auth.session_secrets", auth.session_secrets.is_empty()),
        ("auth.admin_tokens", auth.admin_tokens.is_empty()),
    ];
    for (key, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
        found.push(Finding::new(
            "setting",
            High,
            "A secret is missing",
            format!("{key} is empty"),
            "serve refuses to start without it.",
        ));
    }
    if auth.webhook_tolerance_s > TOLERANCE_S_USUAL {
        found.push(Finding::new(
            "setting",
            Low,
            "An old webhook can be sent again for a long time",
            format!("auth.webhook_tolerance_s {}", auth.webhook_tolerance_s),
            "Event ids make that harmless; 300 is enough for clocks that are kept.",
        ));
    }
    found
}

fn ledger(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    if let DatabaseUrl::Postgres(url) = &settings.database.url {
        let host = url.split_once("://").map_or("", |(_, rest)| rest);
        let host = host
            .split(['/', '?'])
            .next()
            .unwrap_or_default()
            .rsplit('@')
            .next()
            .unwrap_or_default();
        let is_local = ["localhost", "127.", "[::1]"]
            .iter()
            .any(|local| host.starts_with(local))
            || host.is_empty();
        if !is_local && !url.contains("sslmode=verify-full") {
            found.push(Finding::new(
                "setting",
                Medium,
                "The connection to the database may be read or changed on the network",
                format!(
                    "database.url {} has no sslmode=verify-full",
                    settings.database.url
                ),
                "Add ?sslmode=verify-full&sslrootcert=…",
            ));
        }
    }
    if settings.audit.users_per_s == 0 {
        found.push(Finding::new(
            "setting",
            Low,
            "The ledger is not checked while the service runs",
            "audit.users_per_s 0",
            "Set it, or run balance-coordinator verify every day.",
        ));
    }
    found
}
