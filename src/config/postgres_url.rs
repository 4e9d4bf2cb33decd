//! The form of PostgreSQL's URLs, as libpq reads it, and what of them may be shown.

use crate::config::secret::MASK;

/// The parameters of a URL that libpq 18 knows, in its spelling, and `ssl`, which it takes for `sslmode`. `replication` is
/// left out: such a connection takes no statements.
const PARAMETERS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "options",
    "passfile",
    "password",
    "port",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Whether libpq knows every part of `behind`, which is what follows the hosts and [`has_form`]. libpq would take a
/// fragment, or what follows a second slash, for a part of a name.
pub(super) fn has_known_parts(behind: &str) -> bool {
    let (path, parameters) = behind
        .split_once('?')
        .map_or((behind, None), |(path, parameters)| {
            (path, Some(parameters))
        });
    let database = path.strip_prefix('/').unwrap_or(path);
    let mut names = parameters
        .into_iter()
        .flat_map(|all| all.split('&'))
        .map(|pair| pair.split('=').next().unwrap_or_default());
    !behind.contains('#')
        && !behind.contains(char::is_control)
        && !database.contains('/')
        && names.all(|name| PARAMETERS.contains(&name))
}

/// Whether libpq can take the URL apart: `authority` is `[user[:password]@]host[:port][,…]`, `behind` is what follows
/// it.
pub(super) fn has_form(authority: &str, behind: &str) -> bool {
    let hosts = authority
        .split_once('@')
        .map_or(authority, |(_, hosts)| hosts);
    let mut pairs = behind
        .split_once('?')
        .into_iter()
        .flat_map(|(_, parameters)| parameters.split('&'));
    has_good_escapes(authority)
        && has_good_escapes(behind)
        && hosts.split(',').all(is_host)
        && pairs.all(|pair| pair.matches('=').count() == 1 && !pair.starts_with('='))
}

/// Each `%` stands before two hex digits, and none of them spells NUL.
fn has_good_escapes(text: &str) -> bool {
    let is_good = |part: &str| {
        part.get(..2)
            .is_some_and(|code| u8::from_str_radix(code, 16).is_ok_and(|byte| byte != 0))
    };
    let only_hex = |part: &str| part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    !text.contains('\0')
        && text
            .split('%')
            .skip(1)
            .all(|part| only_hex(part) && is_good(part))
}

/// A host or an address in brackets, and perhaps a port.
fn is_host(text: &str) -> bool {
    let port = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) if !address.is_empty() => port,
        Some(_) => return false,
        None => text.find(':').map_or("", |colon| &text[colon..]),
    };
    port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// Whether the parameter `options` sets the search path. Escapes are good, see [`has_form`].
pub(super) fn sets_search_path(behind: &str) -> bool {
    let parameters = behind.split_once('?').map_or("", |(_, all)| all);
    let options = parameters
        .split('&')
        .filter_map(|pair| pair.strip_prefix("options="));
    options
        .map(|value| unescaped(value).to_ascii_lowercase())
        .any(|value| value.contains("search_path"))
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or(("", part));
        plain.extend(u8::from_str_radix(code, 16).ok());
        plain.extend(rest.bytes());
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The URL, with its password and every parameter that may hold one masked.
pub(super) fn masked(url: &str) -> String {
    let (head, parameters) = url
        .split_once('?')
        .map_or((url, None), |(head, tail)| (head, Some(tail)));
    let mut shown = match head.split_once('@') {
        Some((before, after)) => {
            let (scheme, user) = before.split_once("://").unwrap_or(("", before));
            match user.split_once(':') {
                Some((user, _)) => format!("{scheme}://{user}:{MASK}@{after}"),
                None => head.to_owned(),
            }
        }
        None => head.to_owned(),
    };
    for (index, parameter) in parameters.iter().flat_map(|all| all.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        let name = parameter.split('=').next().unwrap_or_default();
        let hides = ["password", "secret", "scram_"]
            .iter()
            .any(|part| name.contains(part));
        if hides {
            shown.push_str(&format!("{name}={MASK}"));
        } else {
            shown.push_str(parameter);
        }
    }
    shown
}
