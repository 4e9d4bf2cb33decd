//! Networks of `server.trusted_proxies`. An IPv4 address has one form: one that is mapped into IPv6 is the same address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// Bits of the prefix of IPv4-mapped addresses, `::ffff:0:0/96`.
const MAPPED_BITS: u8 = 96;

/// A network such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether it is all addresses of its family.
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a network such as 10.0.0.0/8 or fd00::/8; that of a single address ends with /32 or /128"
)]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        // ipnet takes 010.0.0.0 for ten; some other programs, for eight.
        let (address, bits) = text.split_once('/').ok_or(NetworkError)?;
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let bits = bits.parse().map_err(|_| NetworkError)?;
        let network = IpNet::new(address, bits).map_err(|_| NetworkError)?;
        let mapped = match network.addr().to_canonical() {
            IpAddr::V4(address) if network.max_prefix_len() == 128 => network
                .prefix_len()
                .checked_sub(MAPPED_BITS)
                .map(|bits| Ipv4Net::new(address, bits)),
            _ => None,
        };
        let network = match mapped {
            Some(mapped) => mapped.map_err(|_| NetworkError)?.into(),
            None => network,
        };
        Ok(Self(network.trunc()))
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_one_form() {
        for (text, form) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.1/32", "192.0.2.1/32"),
            ("::1/128", "::1/128"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.1/128", "192.0.2.1/32"),
        ] {
            let network: Network = text.parse().expect(text);
            assert_eq!(network.to_string(), form);
        }
        for text in [
            "",
            "10.0.0.1",
            "::1",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/8 ",
            "10.0.0.0/255.0.0.0",
            "010.0.0.0/8",
            "localhost/8",
            "[::1]/128",
            "*",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text:?}");
        }
    }

    #[test]
    fn a_mapped_address_is_in_the_network_of_the_address() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(contains("10.0.0.0/8", "10.9.8.7") && contains("10.0.0.0/8", "::ffff:10.9.8.7"));
        assert!(contains("::ffff:10.0.0.0/104", "10.9.8.7"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0") && !contains("10.0.0.0/8", "::a00:1"));
        assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "fe80::1"));
    }
}
