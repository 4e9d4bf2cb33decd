//! Session tokens: any changed letter is refused, and validly signed claims must be valid too.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;

use crate::config::Secret;
use crate::credentials::session_token::{Session, SessionKeys, TokenError};
use crate::domain::UserId;
use crate::tests::{Members, check, spoiled_text};

const KEY: &str = "a-session-secret-of-more-than-32-bytes";
const NOW_S: i64 = 1_700_000_000;

fn keys() -> SessionKeys {
    let other = Secret::new("another-session-secret-of-32-bytes");
    SessionKeys::new(&[other, Secret::new(KEY)], "sub")
}

/// A validly signed token with any claims.
fn mint(header: &str, claims: &[u8]) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).expect("any key");
    mac.update(signed.as_bytes());
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

#[test]
fn a_token_with_one_changed_letter_is_refused() {
    let good = (1..=UserId::MAX, 1..100_000_i64).prop_map(|(user, ttl)| {
        let claims = format!(r#"{{"sub":"{user}","exp":{},"iat":{NOW_S}}}"#, NOW_S + ttl);
        (
            user,
            NOW_S + ttl,
            mint(r#"{"alg":"HS256","typ":"JWT"}"#, claims.as_bytes()),
        )
    });
    let cases = good.prop_flat_map(|good| (Just(good.clone()), spoiled_text(Just(good.2))));
    let keys = keys();
    check(
        (cases, "\\PC{0,80}"),
        |(((user, expires_at_s, good), spoiled), noise)| {
            let session = Session {
                user_id: UserId::new(user).expect("in range"),
                expires_at_s,
            };
            prop_assert_eq!(keys.verify(&good, NOW_S), Ok(session));
            prop_assert_eq!(keys.verify(&good, expires_at_s), Err(TokenError::Expired));
            prop_assert_eq!(
                keys.verify(&spoiled, NOW_S).is_ok(),
                spoiled == good,
                "{}",
                spoiled
            );
            prop_assert!(keys.verify(&noise, NOW_S).is_err(), "{}", noise);
            Ok(())
        },
    );
}

const NAMES: &[&str] = &["sub", "exp", "iat", "nbf", "aud", "iss", "admin", "Sub"];
const VALUES: &[&str] = &[
    r#""184""#,
    r#""0""#,
    r#""01""#,
    r#""-1""#,
    r#""+1""#,
    r#"" 1""#,
    r#""9007199254740991""#,
    r#""9007199254740992""#,
    r#""\u0031""#,
    r#""""#,
    "184",
    "1700000001",
    "1700000000",
    "1800000000.0",
    "1700000000.5",
    "1700000001.25",
    "1.8e9",
    "-1800000000",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "1e999",
    r#""1800000000""#,
    "null",
    "true",
    "[]",
    "{}",
];

/// The session that validly signed claims should give.
fn model(claims: &[u8]) -> Option<Session> {
    let members = Members::read(claims)?;
    let fractional = |value: &serde_json::Value| {
        let at = value.as_f64().filter(|at| at.abs() < i64::MAX as f64);
        at.map(|at| at.floor() as i64)
    };
    let seconds = |name: &str| {
        let value = members.value(name)?;
        value.as_i64().or_else(|| fractional(&value))
    };
    let is_plain = |text: &str| !text.starts_with('0') && text.chars().all(|c| c.is_ascii_digit());
    let sub = members
        .value("sub")
        .and_then(|sub| sub.as_str().map(str::to_owned))
        .filter(|text| is_plain(text))?;
    let issued = members.raw("iat").is_none_or(|raw| raw == "null") || seconds("iat").is_some();
    let is_once = !members.has_repeated(|_| true);
    let expires_at_s = seconds("exp").filter(|at| *at > NOW_S && issued && is_once)?;
    Some(Session {
        user_id: UserId::new(sub.parse().ok()?).ok()?,
        expires_at_s,
    })
}

#[test]
fn validly_signed_claims_give_exactly_the_session_they_name() {
    let member = (prop::sample::select(NAMES), prop::sample::select(VALUES));
    let claims =
        (prop::collection::vec(member, 0..4), any::<bool>()).prop_map(|(more, is_good)| {
            let good = if is_good {
                vec![("sub", r#""184""#), ("exp", "1800000000")]
            } else {
                Vec::new()
            };
            let members = [good, more].concat();
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        });
    let keys = keys();
    check(
        prop_oneof![1 => claims.clone().boxed(), 1 => spoiled_text(claims).boxed()],
        |claims| {
            let (found, expected) = (
                keys.verify(&mint(r#"{"alg":"HS256"}"#, claims.as_bytes()), NOW_S)
                    .ok(),
                model(claims.as_bytes()),
            );
            // The library checks these three itself, and may refuse more than it must.
            let has_more = Members::read(claims.as_bytes())
                .is_some_and(|members| members.names().any(|name| NAMES[3..6].contains(&name)));
            prop_assert!(
                found == expected || (found.is_none() && has_more),
                "{:?} and not {:?}: {}",
                found,
                expected,
                claims
            );
            Ok(())
        },
    );
}
