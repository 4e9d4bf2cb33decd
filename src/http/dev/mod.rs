//! Endpoints for development: sign in as any user, send entries as a back end would, and pay on an imitated chain.
//!
//! They exist only with `serve --dev`, which listens on loopback alone. Requests from other machines are refused, and so are
//! requests of pages from elsewhere. The bench has no shortcut to the ledger: it signs a webhook and sends it to this
//! process's internal listener over HTTP, so that a page measures the real path and never sees the secret.

pub(super) mod chain;

use std::net::Ipv4Addr;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client;
use crate::credentials::webhook;
use crate::domain::{Kind, UserId};
use crate::http::entries::body::KINDS;
use crate::http::extract::json::{JsonBody, JsonObject};
use crate::http::extract::{Query, invalid};
use crate::http::problem::{Answer, Code, Problem};
use crate::http::state::{Data, HttpState};
use crate::http::users::token_answer;

/// The largest request for a token.
const TOKEN_REQUEST_BYTES_MAX: usize = 256;

/// The largest entry from the bench: 4 KiB of metadata, and the other fields.
const ENTRY_BYTES_MAX: usize = 8192;

/// The largest answer of the internal listener to one entry.
const ANSWER_BYTES_MAX: usize = 65_536;

/// How much longer than `database.timeout_ms` the internal listener may take to answer, in milliseconds.
const MARGIN_MS: u64 = 1000;

/// Accepts only requests from this machine, to a loopback name, and from no foreign page. The check of the name stops foreign
/// names that resolve to this machine (DNS rebinding).
pub(super) async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let host = request.headers().get(HOST).map(text).unwrap_or_default();
    let origin = request.headers().get(ORIGIN).map(text);
    let is_from_here = request
        .peer_addr()
        .is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_own_page = origin.is_none_or(|origin| is_loopback_origin(&origin));
    if is_from_here && is_own_page && is_loopback(&host) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let problem = Problem::new(
        Code::OriginNotAllowed,
        "only loopback addresses may use this",
    );
    Ok(request.error_response(problem).map_into_right_body())
}

/// Whether an origin is on this machine, such as a development server at `http://localhost:5173`.
pub(super) fn is_loopback_origin(origin: &str) -> bool {
    let host = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(is_loopback)
}

/// Whether `host` or `host:port` is a name that always means this machine.
fn is_loopback(host: &str) -> bool {
    let has_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| has_port(port))
        .map_or(host, |(name, _)| name);
    let is_address = name
        .parse()
        .is_ok_and(|address: Ipv4Addr| address.is_loopback());
    is_address || matches!(name, "localhost" | "[::1]")
}

/// `POST /dev/v1/token`: signs in as any user.
pub(super) async fn token(
    state: Data,
    JsonBody(body): JsonBody<TOKEN_REQUEST_BYTES_MAX>,
) -> Answer {
    let user_id = JsonObject::parse(&body, &["user_id"])?.user_id()?;
    token_answer(&state, user_id, None)
}

/// The parameters of a page's request for a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenQuery {
    user_id: i64,
}

/// `GET /dev/v1/token?user_id=`: the same for the demo page, which preloads it together with its scripts.
pub(super) async fn token_for_page(state: Data, query: Query<TokenQuery>) -> Answer {
    let user_id = UserId::new(query.0.user_id).map_err(|error| invalid("user_id", error))?;
    token_answer(&state, user_id, None)
}

/// `POST /dev/v1/entries`: sends one entry as a signed webhook, and answers with the webhook's answer and its times.
pub(super) async fn entries(state: Data, JsonBody(body): JsonBody<ENTRY_BYTES_MAX>) -> Answer {
    let not_an_object =
        |error| Problem::new(Code::InvalidJson, format!("not a JSON object: {error}"));
    let mut entry: Map<String, Value> = serde_json::from_slice(&body).map_err(not_an_object)?;
    let kind = entry
        .remove("kind")
        .and_then(|kind| Kind::deserialize(kind).ok());
    let kind = kind.ok_or_else(|| invalid("kind", KINDS))?;
    complete(&mut entry, kind);
    let body = Value::Object(entry.clone()).to_string();
    let sent = state.clock.wall();
    let (status, answer) = send_webhook(&state, path(kind), body).await?;
    let answered = state.clock.wall();
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({
            "status": status,
            "answer": answer,
            "entry": entry,
            "sent_at": sent,
            "answered_at": answered,
            "took_us": answered.us_since(sent),
        })))
}

const fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Deposit => "/internal/v1/deposits",
        Kind::Reward => "/internal/v1/rewards",
        Kind::Withdrawal => "/internal/v1/withdrawals",
        Kind::Adjustment => "/internal/v1/adjustments",
        Kind::Reversal => "/internal/v1/reversals",
    }
}

/// Fills in what a page may leave out. The webhook checks everything else.
fn complete(entry: &mut Map<String, Value>, kind: Kind) {
    if !entry.contains_key("event_id") && !entry.contains_key("tx_hash") {
        entry.insert(
            "event_id".into(),
            format!("dev:{:016x}", rand::random::<u64>()).into(),
        );
    }
    if kind == Kind::Adjustment {
        entry
            .entry("reason")
            .or_insert_with(|| "sent from the bench".into());
    }
}

async fn send_webhook(
    state: &HttpState,
    path: &str,
    body: String,
) -> Result<(u16, Value), Problem> {
    let not_dev = || Problem::new(Code::NotFound, "the service does not run with --dev");
    let to = state.dev.as_ref().ok_or_else(not_dev)?.internal_addr;
    let access = state.access.now();
    let secret = access
        .webhook_secret()
        .ok_or_else(|| no_answer("no secret is configured"))?;
    let patience = state.timeout() + Duration::from_millis(MARGIN_MS);
    let mut request = client::plain_client(patience)
        .post(format!("http://{to}{path}"))
        .insert_header((CONTENT_TYPE, "application/json"));
    for header in webhook::headers(secret, "dev", state.clock.now_s(), body.as_bytes()) {
        request = request.insert_header(header);
    }
    let answer = client::exchange(request.send_body(body), patience, ANSWER_BYTES_MAX).await;
    let (status, body) = answer.map_err(|why| no_answer(&why))?;
    let answer = serde_json::from_slice(&body).map_err(|_| no_answer("its answer is not JSON"))?;
    Ok((status, answer))
}

fn no_answer(why: &str) -> Problem {
    Problem::new(
        Code::Overloaded,
        format!("the internal listener does not answer: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_mean_this_machine_are_loopback() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.9.9.9:1",
            "localhost",
            "localhost:8080",
            "[::1]",
            "[::1]:8080",
        ] {
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
    fn only_missing_fields_are_filled_in() {
        let completed = |kind, entry: Value| {
            let mut entry = entry.as_object().expect("an object").clone();
            complete(&mut entry, kind);
            Value::Object(entry)
        };
        let made = completed(Kind::Reward, json!({"amount": 1}));
        assert!(
            made["event_id"]
                .as_str()
                .is_some_and(|id| id.starts_with("dev:"))
                && made["amount"] == 1,
            "{made}"
        );
        let given = json!({"event_id": "e", "reason": "r"});
        assert_eq!(completed(Kind::Adjustment, given.clone()), given);
        assert_eq!(
            completed(Kind::Deposit, json!({"tx_hash": "x"})),
            json!({"tx_hash": "x"})
        );
        assert!(completed(Kind::Adjustment, json!({"event_id": "e"}))["reason"].is_string());
    }
}
