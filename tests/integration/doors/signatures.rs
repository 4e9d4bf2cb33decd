//! Ten thousand forged webhooks: none is accepted, and the unchanged original still is.

use futures_util::future::join_all;
use rand::Rng as _;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::json;

use super::forge::{Forged, Wire, dice, forgeries, send, storm};
use super::signature_forgeries::{KINDS, forge};
use crate::support::{
    ADMIN_TOKEN, Database, SESSION_SECRET, Signed, TestApp, WEBHOOK_SECRET, now_s, on_sqlite, sign,
    token,
};

on_sqlite![
    ten_thousand_forged_webhooks_are_refused_and_store_nothing,
    a_head_beyond_what_the_server_reads_is_refused,
    no_other_credential_signs_a_webhook,
];

/// The users named by the originals.
const USERS: u64 = 9;

/// A valid webhook.
#[derive(Debug, Clone)]
pub struct Original {
    pub method: Method,
    pub path: String,
    pub body: String,
    pub id: String,
    pub timestamp: String,
}

impl Original {
    /// The content that is signed.
    pub fn signed(&self) -> Vec<u8> {
        format!("{}.{}.{}", self.id, self.timestamp, self.body).into_bytes()
    }

    /// The valid signature.
    pub fn signature(&self) -> String {
        sign(
            WEBHOOK_SECRET,
            &self.id,
            &self.timestamp,
            self.body.as_bytes(),
        )
    }

    /// With this signature, valid or not.
    pub fn wire(&self, signature: impl Into<Vec<u8>>) -> Wire {
        let mut headers = vec![
            ("webhook-id", self.id.clone().into_bytes()),
            ("webhook-timestamp", self.timestamp.clone().into_bytes()),
            ("webhook-signature", signature.into()),
        ];
        if !self.body.is_empty() {
            headers.push(("content-type", b"application/json".to_vec()));
        }
        Wire {
            method: self.method.clone(),
            path: self.path.clone(),
            headers,
            body: self.body.clone().into_bytes(),
        }
    }
}

/// A valid request for any of the nine signed endpoints.
fn original(rng: &mut StdRng, n: usize) -> Original {
    let user_id = rng.random_range(1..=USERS);
    let entry = json!({"event_id": format!("e{n}"), "user_id": user_id, "currency": "TON", "amount": "0.5"});
    let adjustment = {
        let mut body = entry.clone();
        body["reason"] = json!("a correction");
        body
    };
    let item = json!({"kind": "reward", "event_id": format!("e{n}"), "user_id": user_id, "currency": "UNI", "amount": "1.25"});
    let (method, path, body) = match n % 9 {
        0 => (Method::POST, "deposits".to_owned(), entry.to_string()),
        1 => (Method::POST, "rewards".to_owned(), entry.to_string()),
        2 => (Method::POST, "withdrawals".to_owned(), entry.to_string()),
        3 => (
            Method::POST,
            "adjustments".to_owned(),
            adjustment.to_string(),
        ),
        4 => (
            Method::POST,
            "batch".to_owned(),
            json!({"entries": [item]}).to_string(),
        ),
        5 => (
            Method::POST,
            "tokens".to_owned(),
            json!({"user_id": user_id}).to_string(),
        ),
        6 => (
            Method::PUT,
            format!("users/{user_id}"),
            json!({"telegram_id": n + 1}).to_string(),
        ),
        7 => (
            Method::GET,
            format!("users/{user_id}/balance"),
            String::new(),
        ),
        _ => (
            Method::GET,
            format!("users/{user_id}/entries"),
            String::new(),
        ),
    };
    let timestamp = (now_s() - rng.random_range(0..30)).to_string();
    Original {
        method,
        path: format!("/internal/v1/{path}"),
        body,
        id: format!("msg_{n}_{:x}", rng.random::<u32>()),
        timestamp,
    }
}

/// Whether, by the letter of the convention, one of the first 16 signatures is valid and the time
/// is in range.
fn is_good(wire: &Wire) -> bool {
    let all = |name: &str| {
        wire.headers
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    let (ids, timestamps, signatures) = (
        all("webhook-id"),
        all("webhook-timestamp"),
        all("webhook-signature"),
    );
    let (&[id], &[timestamp], &[list]) = (&ids[..], &timestamps[..], &signatures[..]) else {
        return false;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let right = sign(WEBHOOK_SECRET, &text(id), &text(timestamp), &wire.body);
    let digits = !timestamp.starts_with(b"0") && timestamp.iter().all(u8::is_ascii_digit);
    let is_near = digits
        && text(timestamp)
            .parse::<i64>()
            .is_ok_and(|at| (at - now_s()).abs() <= 300);
    is_near && text(list).split(' ').take(16).any(|one| one == right)
}

async fn ten_thousand_forged_webhooks_are_refused_and_store_nothing(database: Database) {
    // No user exists, so that a created one would be noticed.
    let app = TestApp::on(database)
        .set("accounts.auto_create", false)
        .start()
        .await;
    let mut dice = dice();
    let mut forged: Vec<Forged> = Vec::new();
    for n in 0..forgeries() {
        let rng = dice.of(n / KINDS);
        let original = original(rng, n / KINDS);
        let one = forge(rng, n % KINDS, &original);
        assert_ne!(
            one.wire,
            original.wire(original.signature()),
            "a forgery is never the original"
        );
        assert!(!is_good(&one.wire), "no forgery: {one:?}");
        forged.push(one);
    }
    storm(&app, app.internal, forged).await;

    let users = join_all((1..=USERS).map(|user_id| {
        let app = &app;
        async move {
            app.backend(&format!("/internal/v1/users/{user_id}/entries"))
                .await
        }
    }));
    users
        .await
        .iter()
        .for_each(|answer| drop(answer.problem(404, "unknown_user")));
    assert_eq!(
        app.admin("/admin/v1/conflicts").await.ok()["conflicts"],
        json!([])
    );
    assert_eq!(
        app.admin("/admin/v1/registry").await.ok()["queue_single"],
        0
    );

    // Unchanged, each is accepted.
    for user_id in 1..=USERS {
        app.send(Signed::new(Method::PUT, &format!("/internal/v1/users/{user_id}")).body("{}"))
            .await
            .ok();
        app.accepted("rewards", user_id, &format!("before {user_id}"), "10")
            .await;
    }
    for n in 0..9 {
        let original = original(dice.of(n), n);
        let wire = original.wire(original.signature());
        assert!(is_good(&wire), "{wire:?}");
        send(&app, app.internal, &wire).await.ok();
    }
    app.assert_ledger_holds();
}

async fn a_head_beyond_what_the_server_reads_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    let request = Signed::post("/internal/v1/deposits", &crate::entry("e", 1, "TON", "1"));
    let right = request.right_signature();
    let long = format!("{right} {}", "v1,A".repeat(100_000));
    // The server closes while the head is still being sent, so there may be no answer.
    if let Ok(answer) = app.try_send(request.clone().signature(long)).await {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    assert!(app.entries(1).await.is_empty());
    app.send(request).await.ok();
}

async fn no_other_credential_signs_a_webhook(database: Database) {
    let app = TestApp::start(database).await;
    let request = Signed::post("/internal/v1/deposits", &crate::entry("e", 1, "TON", "1"));
    for credential in [ADMIN_TOKEN, SESSION_SECRET, WEBHOOK_SECRET, &token(1)] {
        for signature in [credential.to_owned(), format!("v1,{credential}")] {
            app.send(request.clone().signature(signature))
                .await
                .problem(401, "invalid_signature");
        }
    }
    for bearer in [ADMIN_TOKEN, WEBHOOK_SECRET, &token(1)] {
        let unsigned = app
            .http
            .post(format!("http://{}/internal/v1/deposits", app.internal))
            .bearer_auth(bearer);
        let answer = unsigned
            .json(&crate::entry("e", 1, "TON", "1"))
            .send()
            .await
            .expect("an answer");
        crate::support::Answer::read(answer)
            .await
            .expect("whole")
            .problem(401, "missing_signature");
    }
    assert!(app.entries(1).await.is_empty());
}
