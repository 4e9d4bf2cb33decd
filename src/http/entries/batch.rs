//! `POST /internal/v1/batch`: entries of any kind and any users in one request.
//!
//! One bad item never stops the others, unless `?atomic=true` makes it all or nothing. When the ledger could not accept
//! some items, or their outcome is unknown, the whole request is answered 503: sending it again is always safe.

use std::collections::HashMap;
use std::convert::Infallible;

use actix_web::body::{MessageBody, SizedStream};
use actix_web::dev::Payload;
use actix_web::http::header::ContentType;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::clock::Deadline;
use crate::coordinator::messages::{PostAtomic, PostBatch, PostEntries};
use crate::domain::{EventId, NewEntry, UserId};
use crate::http::entries::items;
use crate::http::entries::items::{Parsed, Placed};
use crate::http::entries::results::{ItemResult, answer, collect, outcomes};
use crate::http::extract::Query;
use crate::http::extract::signed::Sealed;
use crate::http::problem::{Answer, Problem};
use crate::http::state::{Data, HttpState};
use crate::ledger::{Lane, PostError, Posted};
use crate::limits::{
    ANSWER_PIECE_BYTES, BATCH_SHORT_BYTES, BATCH_SLICE_ENTRIES, POSTING_ENTRIES_MAX,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BatchQuery {
    #[serde(default)]
    atomic: bool,
}

/// A batch that is ready to be posted.
enum Ready {
    Atomic(Placed),
    Each(Option<Each>),
}

/// The body of a batch. It is not known to be signed yet.
pub(in crate::http) struct SealedBatch(Sealed);

impl FromRequest for SealedBatch {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Sealed::read(&request, payload).await.map(Self) })
    }
}

/// `POST /internal/v1/batch`
pub(in crate::http) async fn batch(
    state: Data,
    SealedBatch(sealed): SealedBatch,
    query: Result<Query<BatchQuery>, Problem>,
) -> Answer {
    let reader = state.clone();
    let is_short = sealed.len() <= BATCH_SHORT_BYTES;
    let reading = move || {
        let body = sealed.open(&reader)?;
        let Query(BatchQuery { atomic }) = query?;
        let Parsed {
            valid,
            results,
            refused,
        } = items::parse(&reader, body)?;
        let ready = if atomic {
            Ready::Atomic(valid)
        } else {
            Ready::Each(split_by_user(&reader, valid)?)
        };
        Ok((ready, results, refused))
    };
    let reading = state.bulk.read(is_short, state.timeout(), reading);
    let (ready, results, refused) = reading.await?;
    let answered = match ready {
        Ready::Atomic(valid) => post_atomic(&state, valid, results).await,
        Ready::Each(Some(each)) => post_each(&state, each, results).await,
        Ready::Each(None) => Ok(HttpResponse::Ok().json(answer(&results))),
    };
    let is_sent_again = |problem: &Problem| problem.code().is_transient();
    if !answered.as_ref().is_err_and(is_sent_again) {
        refused.count(&state.counters);
    }
    answered
}

/// The items of a posting, by their indexes in the batch.
type Keys = Vec<(usize, EventId)>;

/// The postings of a batch, one or more per user, and the receivers of their outcomes.
struct Each {
    messages: Vec<(UserId, PostEntries)>,
    parts: Vec<(Keys, oneshot::Receiver<Posted>)>,
    deadline: Deadline,
}

/// Items of one user that are posted together.
struct UserGroup {
    user_id: UserId,
    keys: Keys,
    entries: Vec<NewEntry>,
}

/// Groups the items by user; `None` without any item.
fn split_by_user(state: &HttpState, valid: Placed) -> Result<Option<Each>, Problem> {
    if valid.is_empty() {
        return Ok(None);
    }
    let (mut permit, deadline) = state.admit(Lane::Bulk, valid.len())?;
    // The index in `groups` of each user's newest posting.
    let mut places: HashMap<UserId, usize> = HashMap::new();
    let mut groups: Vec<UserGroup> = Vec::new();
    for (index, entry) in valid {
        let user_id = entry.user_id;
        let place = places
            .get(&user_id)
            .copied()
            .filter(|place| groups[*place].entries.len() < POSTING_ENTRIES_MAX);
        let place = place.unwrap_or_else(|| {
            groups.push(UserGroup {
                user_id,
                keys: Vec::new(),
                entries: Vec::new(),
            });
            places.insert(user_id, groups.len() - 1);
            groups.len() - 1
        });
        groups[place].keys.push((index, entry.event_id.clone()));
        groups[place].entries.push(entry);
    }
    let mut messages = Vec::with_capacity(groups.len());
    let mut parts = Vec::with_capacity(groups.len());
    for UserGroup {
        user_id,
        keys,
        entries,
    } in groups
    {
        let (reply, answer) = oneshot::channel();
        let permit = permit.split(entries.len());
        parts.push((keys, answer));
        let posting = PostEntries {
            entries,
            lane: Lane::Bulk,
            deadline,
            permit,
            reply,
        };
        messages.push((user_id, posting));
    }
    Ok(Some(Each {
        messages,
        parts,
        deadline,
    }))
}

/// Each user's items in their order, through that user's actor.
async fn post_each(
    state: &Data,
    Each {
        messages,
        parts,
        deadline,
    }: Each,
    mut results: Vec<ItemResult>,
) -> Answer {
    let is_short = messages.len() <= BATCH_SLICE_ENTRIES;
    let all = async {
        send_in_slices(state, messages).await?;
        let mut decided = Vec::with_capacity(parts.len());
        // In reverse: when the last one has arrived, so have most others, and this task is woken less often.
        for (keys, posted) in parts.into_iter().rev() {
            let outcomes = outcomes(keys.len(), posted.await.ok())?;
            decided.push((keys, outcomes));
        }
        Ok::<_, Problem>(decided)
    };
    let decided = state.by_deadline(deadline, all).await??;
    let writing = move || {
        for (keys, outcomes) in decided {
            collect(&mut results, keys, &outcomes);
        }
        results.sort_unstable_by_key(|result| result.index);
        Ok(serde_json::to_vec(&answer(&results)).expect("numbers and texts"))
    };
    let body = state.bulk.write(is_short, writing).await?;
    let mut answer = HttpResponse::Ok();
    answer.content_type(ContentType::json());
    Ok(if body.len() <= ANSWER_PIECE_BYTES {
        answer.body(body)
    } else {
        answer.body(in_pieces(body))
    })
}

/// A long body, written in pieces: some kernels do not run other threads on the processor until a write is done.
fn in_pieces(body: Vec<u8>) -> impl MessageBody {
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let pieces = stream::unfold(Bytes::from(body), async |mut rest| {
        if rest.is_empty() {
            return None;
        }
        tokio::task::yield_now().await;
        let piece = rest.split_to(rest.len().min(ANSWER_PIECE_BYTES));
        Some((Ok::<_, Infallible>(piece), rest))
    });
    SizedStream::new(length, Box::pin(pieces))
}

/// Sends a batch in slices, so that the registry takes other messages in between.
async fn send_in_slices(
    state: &HttpState,
    messages: Vec<(UserId, PostEntries)>,
) -> Result<(), Problem> {
    let mut messages = messages.into_iter();
    loop {
        let slice: Vec<_> = messages.by_ref().take(BATCH_SLICE_ENTRIES).collect();
        if slice.is_empty() {
            return Ok(());
        }
        state
            .registry
            .send(PostBatch(slice))
            .await
            .map_err(|_| PostError::Unavailable)?;
    }
}

/// All items in one transaction, or none.
async fn post_atomic(state: &HttpState, valid: Placed, mut results: Vec<ItemResult>) -> Answer {
    let (keys, entries): (Vec<_>, Vec<_>) = valid
        .into_iter()
        .map(|(index, entry)| ((index, entry.event_id.clone()), entry))
        .unzip();
    if results.is_empty() {
        let (permit, deadline) = state.admit(Lane::Bulk, entries.len())?;
        let (reply, answer) = oneshot::channel();
        state.registry.try_send(PostAtomic {
            entries,
            deadline,
            permit,
            reply,
        })?;
        let answered = state.by_deadline(deadline, answer).await?;
        let outcomes = outcomes(keys.len(), answered.ok())?;
        collect(&mut results, keys, &outcomes);
    } else {
        let spared = |(index, event_id)| ItemResult::new(index, Some(event_id), "not_applied");
        results.extend(keys.into_iter().map(spared));
    }
    results.sort_unstable_by_key(|result| result.index);
    match results
        .iter()
        .find_map(|result| Some((result.index, result.problem.clone()?)))
    {
        None => Ok(HttpResponse::Ok().json(answer(&results))),
        Some((index, problem)) => {
            let results = serde_json::to_value(&results).unwrap_or_default();
            let field = problem.field_name().map_or_else(
                || format!("entries[{index}]"),
                |f| format!("entries[{index}].{f}"),
            );
            Err(problem.field(field).with("results", results))
        }
    }
}
