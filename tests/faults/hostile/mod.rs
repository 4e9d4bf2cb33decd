//! Hostile peers: malformed, fragmented, oversized, half-open and slow exchanges; peers that never
//! read; mass disconnects and reconnects.
//!
//! `HOSTILE_EXCHANGES=1000000 BALANCE_TEST_SEED=7 cargo test --test faults hostile:: -- --nocapture` is the long run.

mod crowds;
mod entries;
mod exchanges;
mod http_exchanges;
mod reconnects;
mod silent_readers;
mod sizes;
mod slow;
mod ws_exchanges;
mod ws_frames;
mod ws_messages;
mod ws_model;

use std::net::{IpAddr, Ipv4Addr};

/// A source address per peer, because a pair of addresses has a limited number of ports.
fn source(n: usize) -> IpAddr {
    let [high, low] = u16::try_from(n % 60_000).expect("below 2^16").to_be_bytes();
    Ipv4Addr::new(127, 1, high, low.max(1)).into()
}

/// The size of a test, from its variable or the default.
fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}
