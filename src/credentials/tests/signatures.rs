//! Signature headers: accepted exactly when one of the first sixteen signatures equals the right one and the timestamp is within
//! the tolerance.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use crate::config::WebhookSecret;
use crate::credentials::webhook::{SignatureError, Signed, sign};
use crate::tests::{check, spoiled, spoiled_text};

const NOW_S: i64 = 1_700_000_000;
const TOLERANCE_S: u64 = 300;

/// A valid request before it is damaged, and the text around its signature in the header.
#[derive(Debug, Clone)]
struct Case {
    keys: Vec<[u8; 20]>,
    id: String,
    timestamp: String,
    body: Vec<u8>,
    header: String,
    spoiled_body: Vec<u8>,
}

fn case() -> impl Strategy<Value = Case> {
    let keys = prop::collection::vec(any::<[u8; 20]>(), 1..4);
    let near = (NOW_S - 310..NOW_S + 310).prop_map(|at| at.to_string());
    let timestamp =
        prop_oneof![6 => near.clone(), 1 => spoiled_text(near), 1 => "[-+0-9a-z. ]{0,20}"];
    let body = prop::collection::vec(any::<u8>(), 0..40);
    let parts = (
        keys,
        "[ -~]{1,20}",
        timestamp,
        body,
        0_usize..20,
        any::<prop::sample::Index>(),
    );
    parts.prop_flat_map(|(keys, id, timestamp, body, wrong, by)| {
        let right = sign(&keys[by.index(keys.len())], &id, &timestamp, &body);
        let list = [vec!["v1,AAAA".to_owned(); wrong], vec![right]]
            .concat()
            .join(" ");
        let header =
            prop_oneof![3 => Just(list.clone()), 3 => spoiled_text(Just(list)), 1 => "\\PC{0,60}"];
        let spoiled_body = prop_oneof![3 => Just(body.clone()), 1 => spoiled(Just(body.clone()))];
        (Just((keys, id, timestamp, body)), header, spoiled_body).prop_map(
            |((keys, id, timestamp, body), header, spoiled_body)| Case {
                keys,
                id,
                timestamp,
                body,
                header,
                spoiled_body,
            },
        )
    })
}

#[test]
fn a_signature_is_exactly_right_or_refused() {
    check(case(), |case| {
        let secret = |key: &[u8; 20]| {
            WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode(key))).expect("20 bytes")
        };
        let secrets: Vec<WebhookSecret> = case.keys.iter().map(secret).collect();
        let signed = Signed {
            id: &case.id,
            timestamp: &case.timestamp,
            signature: &case.header,
        };
        for body in [&case.body, &case.spoiled_body] {
            let right: Vec<String> = case
                .keys
                .iter()
                .map(|key| sign(key, &case.id, &case.timestamp, body))
                .collect();
            let fits = case
                .header
                .split(' ')
                .take(16)
                .any(|one| right.iter().any(|right| right == one));
            let is_plain = !case.timestamp.starts_with('0')
                && case.timestamp.chars().all(|c| c.is_ascii_digit());
            let at: Option<i128> = case.timestamp.parse().ok().filter(|_| is_plain);
            let is_near = at.is_some_and(|at| (at - i128::from(NOW_S)).abs() <= TOLERANCE_S.into());
            let expected = match (fits, is_near) {
                (false, _) => Some(SignatureError::Invalid),
                (true, false) => Some(SignatureError::OutOfRange {
                    tolerance_s: TOLERANCE_S,
                }),
                (true, true) => None,
            };
            let found = signed.verify(&secrets, body, NOW_S, TOLERANCE_S).err();
            prop_assert_eq!(found, expected, "{:?}", case);
        }
        Ok(())
    });
}
