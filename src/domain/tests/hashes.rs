//! Transaction hashes: every spelling of 32 bytes, and texts that are none.

use proptest::prelude::*;

use super::super::TxHash;
use super::base64;
use crate::tests::{check, spoiled_text};

/// One of the spellings of 32 bytes.
fn spelling(bytes: [u8; 32], form: u8, capitals: u32) -> String {
    match form % 5 {
        0 => base64::encode(&bytes, false, true),
        1 => base64::encode(&bytes, false, false),
        2 => base64::encode(&bytes, true, true),
        3 => base64::encode(&bytes, true, false),
        _ => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let cased = |(n, c): (usize, char)| {
                if capitals >> (n % 32) & 1 == 1 {
                    c.to_ascii_uppercase()
                } else {
                    c
                }
            };
            hex.chars().enumerate().map(cased).collect()
        }
    }
}

/// The 32 bytes of a text, read by an independent parser.
fn model(text: &str) -> Option<[u8; 32]> {
    let bytes = match text.len() {
        64 if text.chars().all(|c| c.is_ascii_hexdigit()) => {
            let byte = |n: usize| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok();
            (0..32).map(byte).collect::<Option<Vec<u8>>>()
        }
        43 | 44 => base64::decode(text, false).or_else(|| base64::decode(text, true)),
        _ => None,
    };
    bytes?.try_into().ok()
}

#[test]
fn all_spellings_of_one_hash_are_one_and_a_changed_one_is_another_or_none() {
    check(
        (any::<[u8; 32]>(), any::<u8>(), any::<u32>()),
        |(bytes, form, capitals)| {
            let text = spelling(bytes, form, capitals);
            let hash = TxHash::parse(&text);
            prop_assert_eq!(
                hash.ok().map(|hash| *hash.as_bytes()),
                Some(bytes),
                "{}",
                text
            );
            prop_assert_eq!(
                hash.ok()
                    .and_then(|hash| TxHash::of_event_id(&hash.event_id())),
                hash.ok()
            );
            Ok(())
        },
    );
    let spelled = (any::<[u8; 32]>(), any::<u8>(), any::<u32>())
        .prop_map(|(bytes, form, caps)| spelling(bytes, form, caps));
    check(
        prop_oneof![4 => spoiled_text(spelled).boxed(), 1 => "[A-Za-z0-9+/_=-]{42,45}".boxed(), 1 => "\\PC{0,70}".boxed()],
        |text| {
            prop_assert_eq!(
                TxHash::parse(&text).ok().map(|hash| *hash.as_bytes()),
                model(&text),
                "{:?}",
                text
            );
            Ok(())
        },
    );
}
