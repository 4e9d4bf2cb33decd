//! The doors of development: sign in as anybody, and send entries as a back end would.
//!
//! There only with `serve --dev`, which listens on loopback alone. Refuses whoever is not on this machine, and pages that
//! are not from it. The bench owns no way of its own to the ledger: it signs a webhook and sends it to the own internal
//! listener over HTTP, so that a page sees the true path and its true time, and never the secret.

use std::net::Ipv4Addr;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client;
use crate::clock;
use crate::domain::Kind;

use super::HttpState;
use super::body::{check_json, read};
use super::internal_reads::{parse_body, query, token_answer};
use super::problem::{Code, Problem};
use super::signature::sign;

/// The most bytes of a request for a token.
const TOKEN_REQUEST_BYTES_MAX: usize = 256;

/// The most bytes of an entry from the bench: metadata of 4 KiB, and the rest.
const ENTRY_BYTES_MAX: usize = 8192;

/// The most bytes of an answer of the internal listener to one entry.
const ANSWER_BYTES_MAX: usize = 65_536;

/// How much longer than `database.timeout_ms` the answer of the internal listener is waited for, in milliseconds.
const MARGIN_MS: u64 = 1000;

/// Lets in only who is on this machine, calls it by a loopback name, and comes from no page of elsewhere: a foreign name
/// that was made to point here must not get in.
pub(super) async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let host = request.headers().get(HOST).map(text).unwrap_or_default();
    let origin = request.headers().get(ORIGIN).map(text);
    let is_from_here = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_own_page = origin.is_none_or(|origin| is_loopback_origin(&origin));
    if is_from_here && is_own_page && is_loopback(&host) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let problem = Problem::new(Code::OriginNotAllowed, "this is for loopback addresses only");
    Ok(request.error_response(problem).map_into_right_body())
}

/// Whether pages of this origin are from this machine, such as those of a development server at `http://localhost:5173`.
pub(super) fn is_loopback_origin(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(is_loopback)
}

/// Whether `host` or `host:port` is a name that always means this machine.
fn is_loopback(host: &str) -> bool {
    let has_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| has_port(port)).map_or(host, |(name, _)| name);
    let is_address = name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback());
    is_address || matches!(name, "localhost" | "[::1]")
}

#[derive(Debug, Deserialize)]
struct TokenRequest {
    user_id: i64,
}

/// `POST /dev/v1/token`: signs in as any user.
pub(super) async fn token(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    check_json(request.headers())?;
    let body = read(payload, TOKEN_REQUEST_BYTES_MAX).await?;
    let wanted: TokenRequest = parse_body(&body)?;
    token_answer(&state, wanted.user_id, None)
}

/// `GET /dev/v1/token?user_id=`: the same, for the demo page, which preloads it beside its scripts.
pub(super) async fn token_for_page(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let wanted: TokenRequest = query(&request)?;
    token_answer(&state, wanted.user_id, None)
}

/// `POST /dev/v1/entries`: sends one entry as a signed webhook and tells what came of it, and when.
pub(super) async fn entries(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    check_json(request.headers())?;
    let mut entry: Map<String, Value> = parse_body(&read(payload, ENTRY_BYTES_MAX).await?)?;
    let kind = entry.remove("kind").and_then(|kind| Kind::deserialize(kind).ok());
    let kind = kind.ok_or_else(|| {
        let detail = "kind must be deposit, reward, withdrawal or adjustment";
        Problem::new(Code::InvalidField, detail).field("kind")
    })?;
    complete(&mut entry, kind);
    let body = Value::Object(entry.clone()).to_string();
    let sent_us = state.clock.now_us();
    let (status, answer) = send_webhook(&state, path(kind), body).await?;
    let answered_us = state.clock.now_us();
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({
        "status": status,
        "answer": answer,
        "entry": entry,
        "sent_at": clock::rfc3339(sent_us),
        "answered_at": clock::rfc3339(answered_us),
        "took_us": answered_us.saturating_sub(sent_us),
    })))
}

const fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Deposit => "/internal/v1/deposits",
        Kind::Reward => "/internal/v1/rewards",
        Kind::Withdrawal => "/internal/v1/withdrawals",
        Kind::Adjustment => "/internal/v1/adjustments",
    }
}

/// What a page need not think of. Everything else is the webhook's to judge.
fn complete(entry: &mut Map<String, Value>, kind: Kind) {
    if !entry.contains_key("event_id") && !entry.contains_key("tx_hash") {
        entry.insert("event_id".into(), format!("dev:{:016x}", rand::random::<u64>()).into());
    }
    if kind == Kind::Adjustment {
        entry.entry("reason").or_insert_with(|| "sent from the bench".into());
    }
}

async fn send_webhook(state: &HttpState, path: &str, body: String) -> Result<(u16, Value), Problem> {
    let to = state.dev_internal_addr.ok_or_else(|| Problem::new(Code::NotFound, "this is not development"))?;
    let secret = state.settings.auth.webhook_secrets.first().ok_or_else(|| no_answer("no secret is configured"))?;
    let (id, timestamp) = (format!("dev_{:016x}", rand::random::<u64>()), state.clock.now_s().to_string());
    let signature = sign(secret.as_bytes(), &id, &timestamp, body.as_bytes());
    let patience = state.timeout() + Duration::from_millis(MARGIN_MS);
    let request = client::plain_client(patience)
        .post(format!("http://{to}{path}"))
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header(("webhook-id", id))
        .insert_header(("webhook-timestamp", timestamp))
        .insert_header(("webhook-signature", signature));
    let answer = client::exchange(request.send_body(body), patience, ANSWER_BYTES_MAX).await;
    let (status, body) = answer.map_err(|why| no_answer(&why))?;
    let answer = serde_json::from_slice(&body).map_err(|_| no_answer("what it answers is no JSON"))?;
    Ok((status, answer))
}

fn no_answer(why: &str) -> Problem {
    Problem::new(Code::Overloaded, format!("the internal listener does not answer: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_mean_this_machine_are_loopback() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "127.9.9.9:1", "localhost", "localhost:8080", "[::1]", "[::1]:8080"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "evil.example",
            "0.0.0.0:8080",
            "192.0.2.1",
            "[::2]:80",
            "localhost:80@evil.example",
            "127.1",
            "2130706433",
            "localhost/",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn what_a_page_leaves_out_is_filled_in_and_nothing_else() {
        let completed = |kind, entry: Value| {
            let mut entry = entry.as_object().expect("an object").clone();
            complete(&mut entry, kind);
            Value::Object(entry)
        };
        let made = completed(Kind::Reward, json!({"amount": 1}));
        assert!(made["event_id"].as_str().is_some_and(|id| id.starts_with("dev:")) && made["amount"] == 1, "{made}");
        let given = json!({"event_id": "e", "reason": "r"});
        assert_eq!(completed(Kind::Adjustment, given.clone()), given);
        assert_eq!(completed(Kind::Deposit, json!({"tx_hash": "x"})), json!({"tx_hash": "x"}));
        assert!(completed(Kind::Adjustment, json!({"event_id": "e"}))["reason"].is_string());
    }
}
