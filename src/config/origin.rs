//! Browser origins in the one form in which they are compared: as browsers send them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Characters of one origin.
const ORIGIN_CHARS_MAX: usize = 256;

/// Schemes whose pages send another origin or none.
const NEVER_SENT: &[&str] = &["about", "blob", "data", "file", "javascript", "ws", "wss"];

/// `scheme://host` or `scheme://host:port` in the form of browsers: lower case, without the scheme's default port.
/// `None` for all else: a path, even `/` alone, a query, a user, white space, a wildcard, a host that is not in ASCII.
pub fn normal_origin(text: &str) -> Option<String> {
    if text.len() > ORIGIN_CHARS_MAX {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let in_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(in_scheme)
        && !NEVER_SENT.contains(&scheme);
    if !is_scheme {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']')?;
            (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), behind)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (is_name(host).then(|| host.to_owned())?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(port_of(digits)?),
        None if port.is_empty() => None,
        None => return None,
    };
    let default_port = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some(match port.filter(|_| port != default_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

fn port_of(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}

/// A host's name, perhaps with the final dot, or an IPv4 address.
fn is_name(host: &str) -> bool {
    let in_label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(in_label);
    // Browsers take what ends in a number for an address, and write it in full.
    let is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    name.split('.').all(is_label) && (!is_number || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_form() {
        for (text, normal) in [
            ("https://app.example.org", "https://app.example.org"),
            ("HTTPS://App.Example.ORG", "https://app.example.org"),
            ("https://app.example.org:443", "https://app.example.org"),
            ("http://app.example.org:80", "http://app.example.org"),
            ("http://app.example.org:443", "http://app.example.org:443"),
            ("https://app.example.org:0443", "https://app.example.org"),
            (
                "https://app.example.org:8443",
                "https://app.example.org:8443",
            ),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
            ),
            ("https://my_host.example.", "https://my_host.example."),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("capacitor://localhost:443", "capacitor://localhost:443"),
        ] {
            assert_eq!(normal_origin(text).as_deref(), Some(normal), "{text}");
            assert_eq!(normal_origin(normal).as_deref(), Some(normal), "{normal}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for text in [
            "",
            "*",
            "null",
            "app.example.org",
            "app.example.org:443",
            "//app.example.org",
            "://app.example.org",
            "1https://app.example.org",
            "https://",
            "https://:443",
            "https:///",
            "https://app.example.org/",
            "https://app.example.org/path",
            "https://app.example.org?x=1",
            "https://app.example.org#x",
            "https://user@app.example.org",
            "https://user:pass@app.example.org",
            "https://app.example.org ",
            " https://app.example.org",
            "https://app example.org",
            "https://app.example.org\n",
            "https://app.example.org,https://b.example",
            "https://*.example.org",
            "https://*",
            "*://app.example.org",
            "https://bücher.example",
            "https://app%2Eexample.org",
            "https://app..example.org",
            "https://.example.org",
            "https://app.example.org:",
            "https://app.example.org:0",
            "https://app.example.org:+443",
            "https://app.example.org:65536",
            "https://app.example.org:https",
            "https://app.example.org:443:443",
            "https://[::1",
            "https://[::1]x",
            "https://[x]",
            "https://::1",
            "https://127.1",
            "https://127.0.0.01",
            "wss://app.example.org",
            "file://app.example.org",
        ] {
            assert_eq!(normal_origin(text), None, "{text:?}");
        }
    }
}
