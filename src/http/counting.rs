//! Counts and times requests by the pattern of their route, never by the path of the request.
//!
//! The metric handles of a route are created with its first request on a worker, and are kept with the route.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderName;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, web};
use prometheus::{Histogram, IntCounter};
use smallvec::SmallVec;

use crate::domain::Kind;
use crate::http::connection::Activity;
use crate::http::entries::{ENTRY_CODES, UNKNOWN_KIND};
use crate::http::extract::trace;
use crate::http::problem::{Code, not_modified};
use crate::http::session::frames::End;
use crate::http::state::HttpState;
use crate::telemetry::counters::{Counters, seconds};
use crate::telemetry::requests;

/// The label of a path without a route.
const OTHER: &str = "other";

/// Says for how many seconds a connection is kept.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The route of WebSocket handshakes.
const WS: &str = "/ws";

/// The routes that take entries.
const WEBHOOKS: [&str; 6] = [
    "/internal/v1/deposits",
    "/internal/v1/rewards",
    "/internal/v1/withdrawals",
    "/internal/v1/adjustments",
    "/internal/v1/reversals",
    "/internal/v1/batch",
];

/// The codes with which a webhook can be refused.
const WEBHOOK_CODES: [Code; 24] = [
    Code::InvalidJson,
    Code::MissingSignature,
    Code::InvalidSignature,
    Code::TimestampOutOfRange,
    Code::UnknownUser,
    Code::UnknownEntry,
    Code::MethodNotAllowed,
    Code::RequestTimeout,
    Code::IdempotencyConflict,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::InvalidField,
    Code::UnknownField,
    Code::UnknownCurrency,
    Code::InvalidAmount,
    Code::InvalidTxHash,
    Code::InsufficientFunds,
    Code::AmountOverflow,
    Code::NotReversible,
    Code::ExceedsOriginal,
    Code::BatchTooLarge,
    Code::Overloaded,
    Code::LedgerUnavailable,
    Code::ShuttingDown,
];

/// The codes with which an upgrade can be refused.
const WS_CODES: [Code; 5] = [
    Code::OriginNotAllowed,
    Code::MethodNotAllowed,
    Code::UpgradeRequired,
    Code::Overloaded,
    Code::ShuttingDown,
];

/// The reasons with which a session can fail to sign in.
const WS_ENDS: [End; 2] = [End::Unauthenticated, End::TokenExpired];

/// Starts each counter of refusals at zero, so that the first refusal shows as an increase.
pub(super) fn prepare(counters: &Counters) {
    for code in WEBHOOK_CODES {
        counters
            .webhook_rejected
            .with_label_values(&[code.as_str()]);
    }
    for kind in Kind::ALL
        .map(Kind::as_str)
        .into_iter()
        .chain([UNKNOWN_KIND])
    {
        for code in ENTRY_CODES {
            counters
                .entry_refusals
                .with_label_values(&[kind, code.as_str()]);
        }
    }
    for code in WS_CODES
        .map(Code::as_str)
        .into_iter()
        .chain(WS_ENDS.map(|end| end.frame().1))
    {
        counters.ws_rejected.with_label_values(&[code]);
    }
}

/// The listener of a worker, as a label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener(pub &'static str);

/// The metric handles of a route.
#[derive(Debug, Default)]
pub(super) struct Route(OnceCell<Handles>);

#[derive(Debug)]
struct Handles {
    pattern: String,
    listener: &'static str,
    seconds: Histogram,
    /// By status; a route has only a few.
    requests: RefCell<SmallVec<[(u16, IntCounter); 4]>>,
}

impl Handles {
    fn new(counters: &Counters, request: &HttpRequest) -> Self {
        let listener = request
            .app_data::<Listener>()
            .map_or(OTHER, |listener| listener.0);
        let pattern = request.match_pattern().unwrap_or_else(|| OTHER.to_owned());
        let seconds = counters
            .http_seconds
            .with_label_values(&[listener, &pattern]);
        Self {
            seconds,
            requests: RefCell::default(),
            pattern,
            listener,
        }
    }

    fn count(&self, counters: &Counters, status: u16, took_us: u64) {
        self.seconds.observe(seconds(took_us));
        let mut requests = self.requests.borrow_mut();
        if let Some((_, counter)) = requests.iter().find(|(known, _)| *known == status) {
            return counter.inc();
        }
        let labels = [self.listener, &self.pattern, &status.to_string()];
        let counter = counters.http_requests.with_label_values(&labels);
        counter.inc();
        requests.push((status, counter));
    }

    fn refused(&self, counters: &Counters, code: Code) {
        if self.pattern == WS {
            counters
                .ws_rejected
                .with_label_values(&[code.as_str()])
                .inc();
        } else if WEBHOOKS.contains(&self.pattern.as_str()) {
            counters
                .webhook_rejected
                .with_label_values(&[code.as_str()])
                .inc();
        }
    }
}

/// Counts an answered request.
pub(super) fn count<B>(counters: &Counters, response: &ServiceResponse<B>, took_us: u64) {
    let request = response.request();
    let new;
    let handles = match request.app_data::<Route>() {
        Some(route) => route.0.get_or_init(|| Handles::new(counters, request)),
        // The request was answered before its route was found, or it has none.
        None => {
            new = Handles::new(counters, request);
            &new
        }
    };
    let (status, method) = (response.status().as_u16(), request.method());
    log::debug!(
        "answered {method} {} on the {} listener: {status} after {took_us} us",
        handles.pattern,
        handles.listener
    );
    handles.count(counters, status, took_us);
    if let Some(code) = response.response().extensions().get::<Code>() {
        handles.refused(counters, *code);
    }
}

/// Runs a request in its own name, when it has one.
pub(super) async fn middleware<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    match trace::request_id(request.headers()) {
        Some(id) => requests::within(id, counted(request, next)).await,
        None => counted(request, next).await,
    }
}

/// Counts finished requests and those in progress. Answers say how long their connection is kept; while the service is
/// stopping, it is closed.
async fn counted<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let state: Option<Arc<HttpState>> = request
        .app_data::<web::Data<HttpState>>()
        .map(|data| data.clone().into_inner());
    let guard = state.as_ref().map(|state| state.count_request());
    let begun = state.as_ref().map(|state| state.clock.mono());
    let connection: Option<Rc<Activity>> = request.conn_data().cloned();
    connection.iter().for_each(|connection| connection.begin());
    let is_kept = request.head().connection_type() == ConnectionType::KeepAlive;
    let response = next.call(request).await;
    connection.iter().for_each(|connection| connection.end());
    let mut response = response?;
    if let (Some(state), Some(begun)) = (&state, begun) {
        let took_us = state.clock.mono().us_since(begun);
        count(&state.counters, &response, took_us);
    }
    if state.as_ref().is_some_and(|state| state.is_stopping()) {
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    } else if let Some(state) = state.filter(|_| is_kept && is_read(response.status())) {
        let promise = state.keep_alive.clone();
        response.headers_mut().insert(KEEP_ALIVE, promise);
    }
    drop(guard);
    Ok(response)
}

/// Whether the whole request was read; a refusal may leave its body, and the connection is closed then.
fn is_read(status: StatusCode) -> bool {
    status.is_success() || status == not_modified()
}
