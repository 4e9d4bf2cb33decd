//! TON addresses: both forms, compared with an independent parser with its own checksum.

use proptest::prelude::*;

use super::super::TonAddress;
use super::base64;
use crate::tests::{check, spoiled_text};

/// Bounceable and not, each for any network and for test networks.
const TAGS: [u8; 4] = [0x11, 0x51, 0x91, 0xd1];

/// CRC-16/XMODEM, bit by bit (TEP-2).
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 != 0 {
                crc << 1 ^ 0x1021
            } else {
                crc << 1
            }
        })
    })
}

fn raw(workchain: i32, account: &[u8]) -> String {
    let hex: String = account.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{workchain}:{hex}")
}

fn friendly(tag: u8, workchain: i8, account: [u8; 32], url: bool) -> String {
    let payload = [&[tag, workchain.to_be_bytes()[0]], &account[..]].concat();
    base64::encode(
        &[&payload[..], &crc(&payload).to_be_bytes()].concat(),
        url,
        false,
    )
}

/// The raw form of a text, if it is an address.
fn model(text: &str) -> Option<String> {
    if let Some((workchain, account)) = text.split_once(':') {
        let is_number = workchain
            .strip_prefix('-')
            .unwrap_or(workchain)
            .chars()
            .all(|c| c.is_ascii_digit());
        let is_hex = account.len() == 64 && account.chars().all(|c| c.is_ascii_hexdigit());
        let workchain: i32 = workchain.parse().ok().filter(|_| is_number)?;
        return is_hex.then(|| format!("{workchain}:{}", account.to_lowercase()));
    }
    let bytes = base64::decode(text, false).or_else(|| base64::decode(text, true))?;
    let is_whole = text.len() == 48 && bytes.len() == 36 && TAGS.contains(&bytes[0]);
    (is_whole && crc(&bytes[..34]).to_be_bytes() == bytes[34..])
        .then(|| raw(i8::from_be_bytes([bytes[1]]).into(), &bytes[2..34]))
}

#[test]
fn both_forms_of_an_address_are_one_and_a_changed_one_is_another_or_none() {
    let parts = (
        prop::sample::select(&TAGS[..]),
        any::<i8>(),
        any::<[u8; 32]>(),
        any::<bool>(),
    );
    check(parts.clone(), |(tag, workchain, account, url)| {
        let shown = raw(workchain.into(), &account);
        for text in [
            shown.clone(),
            friendly(tag, workchain, account, url),
            shown.to_uppercase(),
        ] {
            prop_assert_eq!(
                TonAddress::parse(&text)
                    .ok()
                    .map(|address| address.to_string()),
                Some(shown.clone()),
                "{}",
                text
            );
        }
        let other = friendly(tag ^ 0x02, workchain, account, url);
        prop_assert!(
            TonAddress::parse(&other).is_err(),
            "an unknown tag: {}",
            other
        );
        Ok(())
    });
    let spelled =
        parts.prop_map(|(tag, workchain, account, url)| friendly(tag, workchain, account, url));
    let raws =
        (any::<i32>(), any::<[u8; 32]>()).prop_map(|(workchain, account)| raw(workchain, &account));
    check(
        prop_oneof![3 => spoiled_text(spelled).boxed(), 3 => spoiled_text(raws).boxed(), 1 => "\\PC{0,70}".boxed()],
        |text| {
            let found = TonAddress::parse(&text)
                .ok()
                .map(|address| address.to_string());
            prop_assert_eq!(found, model(&text), "{:?}", text);
            Ok(())
        },
    );
}
