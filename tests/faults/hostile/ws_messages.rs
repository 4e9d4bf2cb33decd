//! Hostile WebSocket messages: valid frames with wrong content.

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::json;

use crate::support::{SESSION_SECRET, claims, mint, token};

use super::ws_model::{
    Exchange, Expected, MESSAGE_BYTES_MAX, Session, fragments, letters, pick, text,
};

/// One exchange of a session that is signed in, or of one that is not.
pub fn exchange(rng: &mut StdRng, session: &mut Session) -> Exchange {
    match rng.random_range(0..12) {
        0 => not_json(rng, session),
        1 => wrong_types(rng, session),
        2 => unknown_type(rng, session),
        3 => deep(rng, session),
        4 => ids(rng, session),
        5 => refresh(rng, session),
        6 => displayed(rng, session),
        7 => sign_in_again(rng, session),
        8 => sign_in_badly(rng),
        9 => as_large_as_allowed(rng, session),
        10 => byte_by_byte(rng, session),
        _ => many_at_once(rng, session),
    }
}

fn not_json(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let length = rng.random_range(0..200);
    let junk = match rng.random_range(0..5) {
        0 => letters(rng, length),
        1 => format!(r#"{{"type":"ping","id":"{}"#, letters(rng, length)),
        2 => "\u{0}\u{feff}{\"type\":\"ping\"}".to_owned(),
        3 => format!(r#"{{"type":"ping"}}{{"type":"{}"}}"#, letters(rng, 4)),
        _ => pick(
            rng,
            &[
                "",
                "null",
                "[]",
                "7",
                "\"ping\"",
                "{}",
                "{'type':'ping'}",
                "{\"type\":\"ping\",}",
            ],
        )
        .to_owned(),
    };
    Exchange::new("not a message", vec![text(rng, &junk)], session.invalid())
}

fn wrong_types(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let message = pick(
        rng,
        &[
            r#"{"type":5}"#,
            r#"{"type":null}"#,
            r#"{"type":["ping"]}"#,
            r#"{"type":"ping","type":"ping"}"#,
            r#"{"type":"ping","id":1,"id":2}"#,
            r#"{"type":"ping","id":[1]}"#,
            r#"{"type":"ping","id":{}}"#,
            r#"{"type":"ping","id":true}"#,
            r#"{"type":"refresh","id":[[[]]]}"#,
            r#"{"type":"auth"}"#,
            r#"{"type":"auth","token":7}"#,
            r#"{"type":"auth","token":"a","init_data":"b"}"#,
            r#"{"type":"displayed"}"#,
            r#"{"type":"displayed","version":-1}"#,
            r#"{"type":"displayed","version":"1"}"#,
            r#"{"type":"displayed","version":1.5}"#,
            r#"{"type":"displayed","version":9223372036854775808}"#,
            r#"{"type":"displayed","version":1e400}"#,
            r#"{"type":"displayed","version":-9223372036854775809}"#,
        ],
    );
    Exchange::new(
        "members of the wrong type",
        vec![text(rng, message)],
        session.invalid(),
    )
}

fn unknown_type(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let user_id = rng.random_range(1..10_000);
    let message = match rng.random_range(0..3) {
        0 => json!({"type": letters(rng, 12), "user_id": user_id}).to_string(),
        1 => json!({"type": "subscribe", "user_id": user_id}).to_string(),
        _ => json!({"type": pick(rng, &["PING", "ping ", "balance", "hello", "deposit", ""])})
            .to_string(),
    };
    Exchange::new(
        "a type that does not exist",
        vec![text(rng, &message)],
        session.invalid(),
    )
}

/// Nesting in unknown fields is ignored; as an id, or unterminated, it is a bad message.
fn deep(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let depth = rng.random_range(1..1900);
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    match rng.random_range(0..3) {
        0 => {
            let message = format!(r#"{{"type":"ping","id":{depth},"more":{open}{close}}}"#);
            let expected = session.answered(vec![Expected::Pong(Some(depth.to_string()))]);
            Exchange::new(
                "a deep member that is not known",
                vec![text(rng, &message)],
                expected,
            )
        }
        1 => {
            let message = format!(r#"{{"type":"ping","id":{open}{close}}}"#);
            Exchange::new("a deep id", vec![text(rng, &message)], session.invalid())
        }
        _ => Exchange::new(
            "deep and without an end",
            vec![text(rng, &open)],
            session.invalid(),
        ),
    }
}

fn ids(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let number = rng.random::<i64>();
    let id = match rng.random_range(0..6) {
        0 => number.to_string(),
        1 => format!("{number}{0}.{0}e+400", number.unsigned_abs()),
        2 => json!(letters(rng, 900)).to_string(),
        3 => r#""\u0000\ud83d\ude00\"\\\/\b""#.to_owned(),
        4 => "\"\u{202e}\u{0}\u{1f600}\"".replace('\u{0}', ""),
        _ => "-0.0e-0".to_owned(),
    };
    let message = format!(r#"{{"id":{id},"type":"ping","user_id":1}}"#);
    Exchange::new(
        "an id of any kind",
        vec![text(rng, &message)],
        session.answered(vec![Expected::Pong(Some(id))]),
    )
}

fn refresh(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let id = rng.random::<u32>().to_string();
    let message = format!(r#"{{"type":"refresh","id":{id},"user_id":1,"version":99999999}}"#);
    let expected = session.answered(vec![Expected::Refreshed(Some(id))]);
    Exchange::new(
        "a refresh that names another user",
        vec![text(rng, &message)],
        expected,
    )
}

fn displayed(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let version = match rng.random_range(0..3) {
        0 => i64::MAX,
        1 => rng.random_range(0..i64::MAX),
        _ => 0,
    };
    let message = json!({"type": "displayed", "version": version}).to_string();
    Exchange::new(
        "an absurd version displayed",
        vec![text(rng, &message)],
        session.answered(Vec::new()),
    )
}

/// The first one signs in, later ones change nothing; one for another user ends the session.
fn sign_in_again(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let auth = |user_id| json!({"type": "auth", "token": token(user_id)}).to_string();
    if session.is_signed_in && rng.random_bool(0.5) {
        let message = auth(session.user_id + 1);
        return Exchange::closed(
            "signs in as another user",
            vec![text(rng, &message)],
            4501,
            "unauthenticated",
        );
    }
    let message = auth(session.user_id);
    if std::mem::replace(&mut session.is_signed_in, true) {
        let twice = vec![text(rng, &message), text(rng, &message)];
        Exchange::new("signs in again and again", twice, Vec::new())
    } else {
        Exchange::new(
            "signs in",
            vec![text(rng, &message)],
            vec![Expected::Greeting],
        )
    }
}

fn sign_in_badly(rng: &mut StdRng) -> Exchange {
    let expired = mint(
        &json!({"alg": "HS256", "typ": "JWT"}),
        &claims(1, -1),
        SESSION_SECRET,
    );
    let unsigned = format!("{}.", token(1).rsplit_once('.').expect("three parts").0);
    let none = mint(&json!({"alg": "none"}), &claims(1, 60), SESSION_SECRET);
    let (credentials, reason) = match rng.random_range(0..6) {
        0 => (json!({"type": "auth", "token": expired}), "token_expired"),
        1 => (
            json!({"type": "auth", "token": unsigned}),
            "unauthenticated",
        ),
        2 => (json!({"type": "auth", "token": none}), "unauthenticated"),
        3 => (json!({"type": "auth", "token": ""}), "unauthenticated"),
        4 => (
            json!({"type": "auth", "token": letters(rng, 2000)}),
            "unauthenticated",
        ),
        _ => (
            json!({"type": "auth", "init_data": "user=%7B%22id%22%3A1%7D&hash=00"}),
            "unauthenticated",
        ),
    };
    Exchange::closed(
        "signs in with bad credentials",
        vec![text(rng, &credentials.to_string())],
        4501,
        reason,
    )
}

/// A message of exactly the allowed size, whole or in fragments.
fn as_large_as_allowed(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let around = r#"{"type":"ping","id":""}"#.len();
    let id = letters(rng, MESSAGE_BYTES_MAX - around);
    let message = format!(r#"{{"type":"ping","id":"{id}"}}"#);
    let expected = session.answered(vec![Expected::Pong(Some(format!("\"{id}\"")))]);
    let parts = rng.random_range(1..20);
    Exchange::new(
        "as large as allowed",
        fragments(rng, 1, message.as_bytes(), parts),
        expected,
    )
}

fn byte_by_byte(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let id = rng.random::<u16>().to_string();
    let whole = text(rng, &format!(r#"{{"type":"ping","id":{id}}}"#));
    let writes = whole.into_iter().map(|byte| vec![byte]).collect();
    Exchange::new(
        "byte by byte",
        writes,
        session.answered(vec![Expected::Pong(Some(id))]),
    )
}

fn many_at_once(rng: &mut StdRng, session: &mut Session) -> Exchange {
    if !session.is_signed_in {
        return unknown_type(rng, session);
    }
    let ids: Vec<String> = (0..rng.random_range(2..40))
        .map(|_| rng.random::<u16>().to_string())
        .collect();
    let frames: Vec<u8> = ids
        .iter()
        .flat_map(|id| text(rng, &format!(r#"{{"type":"ping","id":{id}}}"#)))
        .collect();
    Exchange::new(
        "many in one segment",
        vec![frames],
        ids.into_iter().map(|id| Expected::Pong(Some(id))).collect(),
    )
}
