//! `GET /internal/v1/feed`: every committed entry once, oldest first. With `wait_ms` a request without entries waits for
//! the first one, and holds no connection to the database meanwhile.

use std::time::Duration;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::clock::Deadline;
use crate::http::extract::Query;
use crate::http::extract::signed::Signed;
use crate::http::following::cursor::Cursor;
use crate::http::following::{ROWS_DEFAULT, in_range};
use crate::http::problem::{Answer, Code, Problem};
use crate::http::state::{Data, HttpState};
use crate::ledger::outbox::{FeedPage, Waiting};
use crate::ledger::{EntryRecord, Ledger as _};
use crate::limits::{FEED_NOW_MS, FEED_SOON_MS, FEED_WAIT_MS_MAX, HISTORY_ENTRIES_MAX};

/// What `after` is to begin with what comes from now on.
const LATEST: &str = "latest";

/// How often a follower that waits checks whether the service is stopping, in milliseconds.
const STOP_CHECK_MS: u64 = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FeedQuery {
    after: Option<String>,
    limit: Option<i64>,
    wait_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Page<'a> {
    epoch: &'a str,
    entries: Vec<EntryRecord>,
    next: String,
}

/// `GET /internal/v1/feed`
pub(in crate::http) async fn feed(state: Data, request: Signed<Query<FeedQuery>>) -> Answer {
    let Query(FeedQuery {
        after,
        limit,
        wait_ms,
    }) = request.asked;
    let limit = in_range("limit", limit, ROWS_DEFAULT, 1..=HISTORY_ENTRIES_MAX)?;
    let wait_ms = in_range("wait_ms", wait_ms, 0, 0..=FEED_WAIT_MS_MAX)?;
    if after.as_deref() == Some(LATEST) {
        return latest(&state).await;
    }
    let cursor = after.as_deref().map(Cursor::parse).transpose()?;
    let page = follow(&state, cursor.as_ref(), limit, wait_ms).await?;
    Ok(answer(page.epoch, page.entries, page.next))
}

fn answer(epoch: String, entries: Vec<EntryRecord>, id: i64) -> HttpResponse {
    let next = Cursor { epoch, id };
    HttpResponse::Ok().json(Page {
        epoch: &next.epoch,
        entries,
        next: next.to_string(),
    })
}

/// A cursor of now: behind every entry that was committed when it was asked for. Transactions that were open then may
/// commit entries with smaller ids, so it waits for them.
async fn latest(state: &HttpState) -> Answer {
    let epoch = state.ledger.standing().epoch().name.to_string();
    let until = state.clock.deadline(Duration::from_millis(FEED_NOW_MS));
    let newest = state.ledger.look_at_feed().await?.newest;
    loop {
        let seen = state.ledger.look_at_feed().await?;
        if seen.settled >= newest {
            return Ok(answer(epoch, Vec::new(), seen.settled));
        }
        if until.has_passed() {
            return Err(Problem::new(
                Code::Overloaded,
                "a transaction that writes entries has been open for long; try again",
            ));
        }
        sleep(Duration::from_millis(FEED_SOON_MS)).await;
    }
}

/// The entries behind a cursor; without any it waits for the first one.
async fn follow(
    state: &HttpState,
    cursor: Option<&Cursor>,
    limit: i64,
    wait_ms: u64,
) -> Result<FeedPage, Problem> {
    let after = cursor.map_or(0, |cursor| cursor.id);
    let until = state.clock.deadline(Duration::from_millis(wait_ms));
    let outbox = state.ledger.outbox();
    let mut place = None;
    loop {
        let page = state.ledger.feed_page(after, limit).await?;
        let is_of_another = cursor.is_some_and(|cursor| cursor.epoch != page.epoch);
        if is_of_another || page.is_ahead {
            return Err(Problem::new(
                Code::AnotherEpoch,
                "the ledger has gone back since this cursor, or is another one; begin again",
            )
            .field("after"));
        }
        if !page.entries.is_empty() || until.has_passed() || state.is_stopping() {
            return Ok(page);
        }
        if place.is_none() {
            place = Some(outbox.place().ok_or_else(full)?);
        }
        if let Some(place) = &place {
            wait(state, place, (after, page.is_held), until).await;
        }
    }
}

fn full() -> Problem {
    Problem::new(
        Code::Overloaded,
        "too many followers are waiting; try again",
    )
}

/// Waits until there may be entries, the time is over, the service stops, or the ledger has another epoch.
async fn wait(
    state: &HttpState,
    place: &Waiting<'_>,
    (after, is_held): (i64, bool),
    until: Deadline,
) {
    let epoch = state.ledger.standing().epoch_number();
    let is_over = || {
        let now = state.ledger.standing().epoch_number();
        until.has_passed() || state.is_stopping() || now != epoch
    };
    let mut news = std::pin::pin!(place.for_news(after, is_held));
    while !is_over() {
        let check = Duration::from_millis(STOP_CHECK_MS).min(until.remaining());
        tokio::select! {
            () = &mut news => return,
            () = sleep(check) => {}
        }
    }
}
