//! Forgeries of session tokens with a valid signature: by their claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use super::forge::mac;
use super::token_forgeries::Make;
use crate::support::{SESSION_SECRET, claims, mint, now_s};
use crate::with;

/// Every forgery, with its name.
pub const CLAIM_WAYS: [(&str, Make); 7] = [
    ("expired", |rng, user| {
        let ago = 10_i64.pow(rng.random_range(0..10)) * rng.random_range(1..5) - 1;
        spoiled(user, json!({"exp": now_s() - ago}))
    }),
    ("an expiry that is none", |rng, user| {
        let at = now_s() + 60;
        let all = [
            json!(null),
            json!(at.to_string()),
            json!(1e300),
            json!(-at),
            json!(0),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(i64::MAX as u64 + 1),
            json!(true),
            json!([at]),
            json!({"at": at}),
            json!("never"),
            json!(""),
        ];
        let exp = all.choose(rng).expect("some").clone();
        match rng.random_range(0..10) {
            0 => mint_text(&format!(r#"{{"sub":"{user}","exp":1{at}0000000000.0}}"#)),
            1 => mint_text(&format!(r#"{{"sub":"{user}","exp":null}}"#)),
            2 => mint_text(&format!(r#"{{"sub":"{user}","exp":1e99999}}"#)),
            _ => spoiled(user, json!({"exp": exp})),
        }
    }),
    ("a subject that is none", |rng, user| {
        let texts = [
            "",
            "0",
            "-1",
            "01",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "1e0",
            "0x1",
            "1_0",
            "\u{ff11}",
            "9007199254740992",
            "18446744073709551617",
            "somebody",
            "null",
            "1\u{0}",
            "1,2",
        ];
        let others = [
            json!(null),
            json!(user),
            json!(user as f64),
            json!([user.to_string()]),
            json!({"id": user}),
            json!(true),
            json!("1".repeat(200)),
        ];
        let sub = if rng.random_bool(0.7) {
            json!(texts.choose(rng).expect("some"))
        } else {
            others.choose(rng).expect("some").clone()
        };
        spoiled(user, json!({"sub": sub}))
    }),
    ("an issue time that is none", |rng, user| {
        let all = [
            json!("now"),
            json!(1e19),
            json!([]),
            json!(true),
            json!(u64::MAX),
            json!({}),
        ];
        spoiled(user, json!({"iat": all.choose(rng).expect("some")}))
    }),
    ("claims that are no object", |rng, user| {
        let at = now_s() + 60;
        let all = [
            format!(r#"["{user}",{at},{at}]"#),
            format!("[{at},null,\"{user}\"]"),
            format!("\"{user}\""),
            at.to_string(),
            "null".to_owned(),
            String::new(),
            "{".to_owned(),
            "{}".to_owned(),
            format!(r#"{{"sub":"{user}","exp":{at}}}{{}}"#),
            format!(r#"{{"sub":"{user}","exp":{at},}}"#),
            format!(r#"{{"sub":"{user}" "exp":{at}}}"#),
            format!(r#"{{'sub':'{user}','exp':{at}}}"#),
            format!("\u{feff}{{\"sub\":\"{user}\",\"exp\":{at}}}"),
        ];
        mint_text(all.choose(rng).expect("some"))
    }),
    ("a claim or a header twice", |rng, user| {
        let at = now_s() + 60;
        let (header, claims) = match rng.random_range(0..4) {
            0 => (
                r#"{"alg":"HS256"}"#,
                format!(r#"{{"sub":"{user}","sub":"{}","exp":{at}}}"#, user + 1),
            ),
            1 => (
                r#"{"alg":"HS256"}"#,
                format!(r#"{{"sub":"{user}","exp":1,"exp":{at}}}"#),
            ),
            2 => (
                r#"{"alg":"none","alg":"HS256"}"#,
                format!(r#"{{"sub":"{user}","exp":{at}}}"#),
            ),
            _ => (
                r#"{"alg":"HS256","alg":"none"}"#,
                format!(r#"{{"sub":"{user}","exp":{at}}}"#),
            ),
        };
        mint_bytes(header.as_bytes(), claims.as_bytes())
    }),
    ("claims that are no UTF-8", |rng, user| {
        let mut claims = format!(r#"{{"sub":"{user}","exp":{}}}"#, now_s() + 60).into_bytes();
        claims.insert(
            rng.random_range(0..claims.len()),
            rng.random_range(0x80..=0xff),
        );
        mint_bytes(br#"{"alg":"HS256"}"#, &claims)
    }),
];

fn spoiled(user: u64, more: Value) -> String {
    mint(
        &json!({"alg": "HS256", "typ": "JWT"}),
        &with(&claims(user, 60), more),
        SESSION_SECRET,
    )
}

/// A validly signed token with any claims.
fn mint_bytes(header: &[u8], claims: &[u8]) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(mac(SESSION_SECRET.as_bytes(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn mint_text(claims: &str) -> String {
    mint_bytes(br#"{"alg":"HS256","typ":"JWT"}"#, claims.as_bytes())
}
