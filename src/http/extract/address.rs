//! The address of the client: the TCP peer's, or what trusted proxies say (`server.trusted_proxies`).
//!
//! Each proxy appends the address of its own peer to `X-Forwarded-For`. So the list is read from its end, and only as far as
//! the addresses are those of trusted proxies: what is further left was written by the client. An element that is no
//! address ends the reading; the client is then the last proxy before it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, X_FORWARDED_FOR};

use crate::config::Network;

/// Proxies in a row. More are not looked at: the client is then the last of them.
const HOPS_MAX: usize = 32;

/// The client of a request, for rate limits, logs and lists of sessions. An IPv4 address is never in its IPv6 form.
pub(in crate::http) fn of(request: &HttpRequest, trusted: &[Network]) -> IpAddr {
    let peer = request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    client(peer, request.headers(), trusted)
}

fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let lists: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
    // A list with other characters than printable ASCII is one element that is no address.
    let lists = lists
        .iter()
        .rev()
        .map(|list| list.to_str().unwrap_or_default());
    for element in lists.flat_map(|list| list.rsplit(',')).take(HOPS_MAX) {
        let Some(address) = parse(element) else {
            break;
        };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address, with or without a port.
fn parse(element: &str) -> Option<IpAddr> {
    let text = element.trim_matches([' ', '\t']);
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']');
    let address = match in_brackets() {
        Some(text) => IpAddr::V6(text.parse().ok()?),
        None => text
            .parse()
            .or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()))
            .ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn found(peer: &str, lists: &[&str]) -> String {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1/128", "fd00::/8"]
            .map(|text| text.parse().expect("a network"))
            .into();
        let mut headers = HeaderMap::new();
        for list in lists {
            let list = HeaderValue::from_bytes(list.as_bytes()).expect("a header's value");
            headers.append(X_FORWARDED_FOR, list);
        }
        client(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn the_client_is_the_last_address_of_no_trusted_proxy() {
        for (peer, lists, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.1"], "192.0.2.1"),
            ("::ffff:192.0.2.1", &["198.51.100.1"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            (
                "10.0.0.1",
                &["203.0.113.9,198.51.100.1, 10.0.0.2 ,fd00::7"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &["203.0.113.9", "198.51.100.1", "10.0.0.2"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["10.0.0.2", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (
                "10.0.0.1",
                &["::ffff:198.51.100.1, ::ffff:10.0.0.2"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["198.51.100.1:5678"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2:1"], "198.51.100.1"),
            ("10.0.0.1", &["\t 198.51.100.1\t"], "198.51.100.1"),
        ] {
            assert_eq!(found(peer, lists), expected, "{peer} {lists:?}");
        }
    }

    #[test]
    fn garbage_ends_the_list_at_the_last_proxy_before_it() {
        for garbage in [
            "",
            " ",
            "unknown",
            "_hidden",
            "198.51.100.1 198.51.100.2",
            "198.51.100.1:",
            "198.51.100.1:65536",
            "198.51.100",
            "198.51.100.01",
            "[198.51.100.1]",
            "[2001:db8::1",
            "2001:db8::1]:443",
            "\"198.51.100.1\"",
            "fe80::1%eth0",
            "for=198.51.100.1",
            "bücher",
        ] {
            assert_eq!(found("10.0.0.1", &[garbage]), "10.0.0.1", "{garbage:?}");
            let behind = format!("203.0.113.9, {garbage}, 10.0.0.2");
            let expected = if garbage == "bücher" {
                "10.0.0.1"
            } else {
                "10.0.0.2"
            };
            assert_eq!(found("10.0.0.1", &[&behind]), expected, "{garbage:?}");
            let before = format!("{garbage}, 198.51.100.1");
            let expected = if garbage == "bücher" {
                "10.0.0.1"
            } else {
                "198.51.100.1"
            };
            assert_eq!(found("10.0.0.1", &[&before]), expected, "{garbage:?}");
        }
    }

    #[test]
    fn a_list_without_end_is_read_to_a_limit() {
        let list = format!("203.0.113.9{}", ", 10.0.0.2".repeat(HOPS_MAX - 1));
        assert_eq!(found("10.0.0.1", &[&list]), "203.0.113.9");
        let list = format!("{list}, 10.0.0.2");
        assert_eq!(found("10.0.0.1", &[&list]), "10.0.0.2");
    }
}
