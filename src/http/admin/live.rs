//! `GET /admin/v1/live`: what the dashboard shows, once a second, as server-sent events.
//!
//! One snapshot serves all listeners; making it never delays what is counted. A listener
//! may also watch one user: that user's actor is inspected for this listener alone, and each event is sent once. The number of
//! listeners and the length of a stream are bounded; a browser reconnects when its stream ends.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::rt::time::{Interval, interval};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::coordinator::messages::ListRecent;
use crate::domain::UserId;
use crate::http::admin::actors::inspect;
use crate::http::admin::snapshot::snapshot;
use crate::http::admin::{Answer, Code, Data, HttpState, Problem, ask};
use crate::http::connection::Activity;
use crate::http::extract::admin::{Admin, Lasting};
use crate::http::extract::{Query, invalid, query_user};
use crate::limits::{LIVE_EVENTS_MAX, LIVE_INTERVAL_MS, LIVE_LISTENERS_MAX, LIVE_SNAPSHOTS_MAX};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LiveQuery {
    snapshots: Option<u32>,
    user_id: Option<i64>,
}

/// The user that a listener watches, and the newest event that it was sent.
struct Watched {
    user_id: UserId,
    seen_seq: u64,
}

/// A place among the listeners. The connection counts as in use until it is dropped.
struct Listener {
    state: Data,
    connection: Option<Rc<Activity>>,
}

impl Listener {
    fn new(state: &Data, request: &HttpRequest) -> Option<Self> {
        if !state.live.listeners.try_take(LIVE_LISTENERS_MAX) {
            return None;
        }
        let connection: Option<Rc<Activity>> = request.conn_data().cloned();
        connection.iter().for_each(|connection| connection.begin());
        Some(Self {
            state: state.clone(),
            connection,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.connection
            .iter()
            .for_each(|connection| connection.end());
        self.state.live.listeners.down();
    }
}

/// A running stream.
struct Feed {
    listener: Listener,
    token: Lasting,
    ticks: Interval,
    left: u32,
    watched: Option<Watched>,
}

impl Feed {
    /// The next events; `None` at the end of the stream, while the service is stopping, and once the token is no longer
    /// good.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        self.left = self.left.checked_sub(1)?;
        // The first tick is immediate.
        self.ticks.tick().await;
        let state = &self.listener.state;
        if state.is_stopping() || !self.token.is_good(state) {
            return None;
        }
        let mut events = match snapshot(&self.listener.state).await {
            Ok(made) => [b"event: snapshot\ndata: ", &made[..], b"\n\n"]
                .concat()
                .into(),
            Err(problem) => problem_event(problem),
        };
        if let Some(watched) = &mut self.watched {
            let seen = watched
                .update(&self.listener.state)
                .await
                .unwrap_or_else(problem_event);
            events = [events, seen].concat().into();
        }
        Some((Ok(events), self))
    }
}

impl Watched {
    /// The actor (`null` when it is not resident) and the user's events since the last call.
    async fn update(&mut self, state: &HttpState) -> Result<Bytes, Problem> {
        let user_id = self.user_id;
        let wanted = ListRecent {
            limit: LIVE_EVENTS_MAX,
            after: self.seen_seq,
            user_id: Some(user_id),
            kinds: None,
        };
        let actor = inspect(state, user_id).await?;
        let happened = ask(state, wanted).await?;
        self.seen_seq = happened.latest_seq;
        Ok(event(
            "user",
            &json!({ "user_id": user_id, "actor": actor, "events": happened.events }),
        ))
    }
}

/// `GET /admin/v1/live`
pub(in crate::http) async fn live(
    state: Data,
    admin: Admin<Query<LiveQuery>>,
    request: HttpRequest,
) -> Answer {
    let Query(LiveQuery { snapshots, user_id }) = admin.asked;
    let watched = query_user(user_id)?;
    let left = snapshots.unwrap_or(LIVE_SNAPSHOTS_MAX);
    if !(1..=LIVE_SNAPSHOTS_MAX).contains(&left) {
        let range = format!("must be 1 to {LIVE_SNAPSHOTS_MAX}");
        return Err(invalid("snapshots", range));
    }
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    let full = || {
        Problem::new(
            Code::Overloaded,
            format!("there are {LIVE_LISTENERS_MAX} listeners already"),
        )
    };
    let listener = Listener::new(&state, &request).ok_or_else(full)?;
    let mut ticks = interval(Duration::from_millis(LIVE_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watched = watched.map(|user_id| Watched {
        user_id,
        seen_seq: 0,
    });
    let feed = Feed {
        listener,
        token: Lasting::of(&request),
        ticks,
        left,
        watched,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // Stops some proxies from buffering the whole answer.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(feed, Feed::next)))
}

/// An event in the place of a part that can't be shown now.
fn problem_event(problem: Problem) -> Bytes {
    event("problem", &json!({ "detail": problem.to_string() }))
}

/// A server-sent event. `Value` prints no line feeds, so its JSON is one line of data.
fn event(name: &str, data: &serde_json::Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}
