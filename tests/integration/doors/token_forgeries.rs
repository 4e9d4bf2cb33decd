//! Forgeries of session tokens; each is a function of a random generator and a valid token's
//! claims.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};
use serde_json::json;
use sha2::{Sha384, Sha512};

use super::claim_forgeries::CLAIM_WAYS;
use super::forge::{mac, respelled, with_stray_bits};
use crate::support::{ADMIN_TOKEN, SESSION_SECRET, WEBHOOK_SECRET, claims, mint};
use crate::with;

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A forgery of a user's token.
pub type Make = fn(&mut StdRng, u64) -> String;

/// Forgeries of header, signature and the whole token, with their names.
const WAYS: [(&str, Make); 23] = [
    ("a character of the header", |rng, user| {
        respelled_part(rng, user, 0)
    }),
    ("a character of the claims", |rng, user| {
        respelled_part(rng, user, 1)
    }),
    ("a character of the signature", |rng, user| {
        respelled_part(rng, user, 2)
    }),
    ("stray bits behind the signature", |rng, user| {
        let token = good(user);
        let [a, b, c] = parts(&token);
        format!("{a}.{b}.{}", with_stray_bits(rng, c, ALPHABET))
    }),
    ("no algorithm", |rng, user| {
        let alg = *["none", "None", "NONE", "nOnE", ""]
            .choose(rng)
            .expect("some");
        let token = mint(
            &json!({"alg": alg, "typ": "JWT"}),
            &claims(user, 60),
            SESSION_SECRET,
        );
        if rng.random_bool(0.7) {
            format!("{}.", signed_part(&token))
        } else {
            token
        }
    }),
    ("HS384 or HS512", |rng, user| {
        let is_384 = rng.random_bool(0.5);
        let token = mint(
            &json!({"alg": if is_384 { "HS384" } else { "HS512" }}),
            &claims(user, 60),
            SESSION_SECRET,
        );
        if rng.random_bool(0.3) {
            return token;
        }
        let signed = signed_part(&token);
        format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(longer_mac(is_384, signed.as_bytes()))
        )
    }),
    ("an algorithm of key pairs", |rng, user| {
        let alg = *["RS256", "RS512", "ES256", "ES384", "PS256", "EdDSA"]
            .choose(rng)
            .expect("some");
        mint(&json!({"alg": alg}), &claims(user, 60), SESSION_SECRET)
    }),
    ("an algorithm that is none", |rng, user| {
        let algs = [
            json!("hs256"),
            json!("Hs256"),
            json!("HS256 "),
            json!("HS-256"),
            json!(256),
            json!(null),
            json!(["HS256"]),
        ];
        let alg = algs.choose(rng).expect("some").clone();
        let header = if rng.random_bool(0.1) {
            json!({"typ": "JWT"})
        } else {
            json!({"alg": alg})
        };
        mint(&header, &claims(user, 60), SESSION_SECRET)
    }),
    ("a key of its own in the header", |rng, user| {
        let own = "a-key-that-the-token-brings-along-itself";
        let jwk = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(own)});
        let more = [
            json!({"jwk": jwk}),
            json!({"jku": "http://127.0.0.1:9/keys.json"}),
            json!({"x5u": "http://127.0.0.1:9/key.pem"}),
            json!({"kid": "../../../../dev/null"}),
            json!({"kid": "' UNION SELECT 'a"}),
            json!({"kid": own}),
            json!({"x5c": [STANDARD.encode(own)]}),
        ];
        let header = with(
            &json!({"alg": "HS256", "typ": "JWT"}),
            more.choose(rng).expect("some").clone(),
        );
        let key = if rng.random_bool(0.8) { own } else { "" };
        mint(&header, &claims(user, 60), key)
    }),
    ("what must be understood and is not", |rng, user| {
        let crit = [
            json!(["exp"]),
            json!(["b64"]),
            json!([]),
            json!("exp"),
            json!(["a", "b"]),
        ];
        mint(
            &json!({"alg": "HS256", "crit": crit.choose(rng).expect("some"), "b64": false}),
            &claims(user, 60),
            SESSION_SECRET,
        )
    }),
    ("a random key", |rng, user| {
        let mut key = vec![0; rng.random_range(1..80)];
        rng.fill_bytes(&mut key);
        by_key(user, &key)
    }),
    ("another key of ours", |rng, user| {
        let decoded = STANDARD.decode(&WEBHOOK_SECRET[6..]).expect("base64");
        let keys = [
            ADMIN_TOKEN.as_bytes(),
            WEBHOOK_SECRET.as_bytes(),
            &WEBHOOK_SECRET.as_bytes()[6..],
            &decoded,
            b"",
            b"secret",
        ];
        by_key(user, keys.choose(rng).expect("some"))
    }),
    ("a part of the key, or more than it", |rng, user| {
        let mut key = SESSION_SECRET.as_bytes().to_vec();
        // Not a zero at the end: HMAC pads keys with zeros, so it would be the same key.
        if rng.random_bool(0.2) {
            key.push(rng.random_range(1..=255))
        } else {
            key.truncate(rng.random_range(0..key.len()))
        }
        by_key(user, &key)
    }),
    ("the key in another form", |rng, user| {
        let keys = [
            SESSION_SECRET.to_uppercase(),
            hex::encode(SESSION_SECRET),
            STANDARD.encode(SESSION_SECRET),
            format!(" {SESSION_SECRET}"),
        ];
        by_key(user, keys.choose(rng).expect("some").as_bytes())
    }),
    ("no signature", |rng, user| {
        format!(
            "{}{}",
            signed_part(&good(user)),
            if rng.random_bool(0.5) { "." } else { "" }
        )
    }),
    ("the signature of another token", |rng, user| {
        let other = mint(
            &json!({"alg": "HS256", "typ": "JWT"}),
            &claims(user + 1, rng.random_range(61..1000)),
            SESSION_SECRET,
        );
        format!(
            "{}.{}",
            signed_part(&good(user)),
            other.rsplit('.').next().expect("a part")
        )
    }),
    ("parts in another order", |rng, user| {
        let token = good(user);
        let [a, b, c] = parts(&token);
        let orders = [
            [a, c, b],
            [b, a, c],
            [b, c, a],
            [c, a, b],
            [c, b, a],
            [a, a, c],
            [b, b, c],
        ];
        orders.choose(rng).expect("some").join(".")
    }),
    ("too few or too many parts", |rng, user| {
        let token = good(user);
        let [a, b, c] = parts(&token);
        let some = [
            a.to_owned(),
            format!("{a}.{b}"),
            format!("{token}."),
            format!("{token}.."),
            format!(".{token}"),
            format!("{token}.{c}"),
            format!("{a}..{c}"),
            format!("..{c}"),
            "..".to_owned(),
            format!("{a}.{b}.{c}.{b}.{c}"),
            format!("{a}{b}{c}"),
        ];
        some.choose(rng).expect("some").clone()
    }),
    ("padding, or the other alphabet", |rng, user| {
        let token = (0..1000)
            .map(|n| {
                mint(
                    &json!({"alg": "HS256"}),
                    &claims(user, 60 + n),
                    SESSION_SECRET,
                )
            })
            .find(|token| {
                token
                    .rsplit('.')
                    .next()
                    .is_some_and(|signature| signature.contains(['-', '_']))
            })
            .expect("most have one");
        let [a, b, c] = parts(&token);
        let bytes = URL_SAFE_NO_PAD.decode(c).expect("base64url");
        let all = [
            STANDARD.encode(&bytes),
            URL_SAFE.encode(&bytes),
            hex::encode(&bytes),
            c.replace('-', "+").replace('_', "/"),
        ];
        format!("{a}.{b}.{}", all.choose(rng).expect("some"))
    }),
    ("something inside", |rng, user| {
        let mut token = good(user);
        let index = rng.random_range(1..token.len() - 1);
        token.insert_str(
            index,
            [
                "%20", "%2e", " ", "\"", "=", ",", ";", "\t", "+", "/", ".", "AAAA",
            ]
            .choose(rng)
            .expect("some"),
        );
        token
    }),
    ("more or less of it", |rng, user| {
        let token = good(user);
        if rng.random_bool(0.3) {
            let tail: String = (0..rng.random_range(1..9))
                .map(|_| char::from(*ALPHABET.as_bytes().choose(rng).expect("some")))
                .collect();
            return format!("{token}{tail}");
        }
        if rng.random_bool(0.5) {
            token[..rng.random_range(1..token.len())].to_owned()
        } else {
            token[rng.random_range(1..token.len())..].to_owned()
        }
    }),
    ("another credential", |rng, _| {
        let signature = format!(
            "v1,{}",
            STANDARD.encode(mac(SESSION_SECRET.as_bytes(), b"id.1.{}"))
        );
        [
            ADMIN_TOKEN,
            SESSION_SECRET,
            WEBHOOK_SECRET,
            &WEBHOOK_SECRET[6..],
            &signature,
            "null",
            "undefined",
            "1",
            "184",
        ]
        .choose(rng)
        .map(|text| (*text).to_owned())
        .expect("some")
    }),
    ("a very long one", |rng, user| {
        let long = "A".repeat(rng.random_range(2_000..20_000));
        let [a, b, c] = parts(&good(user)).map(str::to_owned);
        match rng.random_range(0..3) {
            0 => format!("{a}.{b}.{long}"),
            1 => format!("{a}.{long}.{c}"),
            _ => mint(
                &json!({"alg": "HS256"}),
                &with(&claims(user, 60), json!({"sub": long})),
                SESSION_SECRET,
            ),
        }
    }),
];

/// Forgeries with a valid signature, refused for their content.
const RIGHTLY_SIGNED: [&str; 13] = [
    "no algorithm",
    "HS384 or HS512",
    "an algorithm of key pairs",
    "an algorithm that is none",
    "what must be understood and is not",
    "expired",
    "an expiry that is none",
    "a subject that is none",
    "an issue time that is none",
    "claims that are no object",
    "a claim or a header twice",
    "claims that are no UTF-8",
    "a very long one",
];

/// Asserts that a validly signed token comes only from a forgery that signs validly.
pub fn assert_forged(what: &str, token: &str) {
    let is_signed = token.rsplit_once('.').is_some_and(|(signed, signature)| {
        signed.matches('.').count() == 1
            && signature
                == URL_SAFE_NO_PAD.encode(mac(SESSION_SECRET.as_bytes(), signed.as_bytes()))
    });
    assert!(
        !is_signed || RIGHTLY_SIGNED.contains(&what),
        "{what} is no forgery: {token}"
    );
}

/// The number of forgeries.
pub const KINDS: usize = WAYS.len() + CLAIM_WAYS.len();

/// Forges a user's token with the given forgery.
pub fn forge(rng: &mut StdRng, kind: usize, user: u64) -> (&'static str, String) {
    let (what, make) = if kind < WAYS.len() {
        WAYS[kind]
    } else {
        CLAIM_WAYS[kind - WAYS.len()]
    };
    (what, make(rng, user))
}

fn good(user: u64) -> String {
    mint(
        &json!({"alg": "HS256", "typ": "JWT"}),
        &claims(user, 60),
        SESSION_SECRET,
    )
}

fn by_key(user: u64, key: &[u8]) -> String {
    let token = good(user);
    let signed = signed_part(&token);
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(mac(key, signed.as_bytes()))
    )
}

/// Header and claims, without the signature.
fn signed_part(token: &str) -> &str {
    token.rsplit_once('.').expect("three parts").0
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().expect("three parts")
}

fn respelled_part(rng: &mut StdRng, user: u64, index: usize) -> String {
    let token = good(user);
    let mut parts = parts(&token).map(str::to_owned);
    parts[index] = respelled(rng, &parts[index], ALPHABET);
    parts.join(".")
}

fn longer_mac(is_384: bool, message: &[u8]) -> Vec<u8> {
    let key = SESSION_SECRET.as_bytes();
    if is_384 {
        let mut mac = Hmac::<Sha384>::new_from_slice(key).expect("any key");
        mac.update(message);
        return mac.finalize().into_bytes().to_vec();
    }
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("any key");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
