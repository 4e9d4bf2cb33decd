//! `POST /internal/v1/batch`: entries of any kind and any users in one request.
//!
//! One bad item never stops the others, unless `?atomic=true` makes it all or nothing. When the ledger could not take
//! some items in, or their outcome is unknown, the whole request is answered 503: sending it again is always safe.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::coordinator::messages::{PostAtomic, PostBatch, PostEntries, ToUser};
use crate::domain::{Currencies, CurrencyId, EventId, Kind, NewEntry, Outcome, UserId};
use crate::ledger::{EntryOutcome, Lane, PostError, Posted};
use crate::limits::{BATCH_SLICE_ENTRIES, POSTING_ENTRIES_MAX};

use super::HttpState;
use super::body::read_signed_json;
use super::entry_body::{RawObject, item_kind, parse_entry};
use super::internal_reads::query;
use super::problem::{Code, Problem};
use super::webhooks::{count_rejected, refusal, unroutable};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchQuery {
    #[serde(default)]
    atomic: bool,
}

/// What became of one item.
#[derive(Debug, Clone, Serialize)]
struct ItemResult {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip)]
    problem: Option<Problem>,
}

#[derive(Debug, Serialize)]
struct BatchAnswer<'a> {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    results: &'a [ItemResult],
}

impl ItemResult {
    fn new(index: usize, event_id: Option<EventId>, status: &'static str) -> Self {
        Self { index, event_id, status, version: None, code: None, field: None, problem: None }
    }

    fn rejected(index: usize, event_id: Option<EventId>, problem: Problem) -> Self {
        Self {
            code: Some(problem.code().as_str()),
            field: problem.field_name().map(str::to_owned),
            problem: Some(problem),
            ..Self::new(index, event_id, "rejected")
        }
    }

    fn of(index: usize, key: ItemKey, outcome: &EntryOutcome, currencies: &Currencies) -> Self {
        let new = |status, version| Self { version, ..Self::new(index, Some(key.event_id.clone()), status) };
        match outcome {
            EntryOutcome::NotApplied => new("not_applied", None),
            EntryOutcome::Decided { outcome: Outcome::Accepted { version, .. }, .. } => new("accepted", Some(*version)),
            EntryOutcome::Decided { outcome: Outcome::Duplicate(first), .. } => new("duplicate", Some(first.version)),
            EntryOutcome::Decided { outcome: refused, .. } => {
                let decimals = currencies.get(key.currency).decimals;
                let problem = refusal(refused, |available| available.display(decimals).to_string());
                Self::rejected(index, Some(key.event_id), problem)
            }
            EntryOutcome::Failed(error) => Self::rejected(index, Some(key.event_id), (*error).into()),
        }
    }
}

/// What an item's result needs of its entry.
#[derive(Debug, Clone)]
struct ItemKey {
    event_id: EventId,
    currency: CurrencyId,
}

impl From<&NewEntry> for ItemKey {
    fn from(entry: &NewEntry) -> Self {
        Self { event_id: entry.event_id.clone(), currency: entry.currency }
    }
}

/// The endpoint.
pub(super) async fn batch(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let limits = &state.settings.limits;
    let body = read_signed_json(&request, payload, &state, limits.batch_body_bytes).await?;
    let BatchQuery { atomic } = query(&request)?;
    let mut results = Vec::new();
    let mut valid = Vec::new();
    for (index, item) in items(&body, limits.batch_entries)?.into_iter().enumerate() {
        if index % BATCH_SLICE_ENTRIES == BATCH_SLICE_ENTRIES - 1 {
            // A large batch takes long to read, and other connections share this thread.
            tokio::task::yield_now().await;
        }
        match parse_item(item, &state.settings.currencies) {
            Ok(entry) => valid.push((index, entry)),
            Err(refused) => {
                count_rejected(&state, refused.kind);
                results.push(ItemResult::rejected(index, refused.event_id, refused.problem));
            }
        }
    }
    drop(body);
    if atomic { post_atomic(&state, valid, results).await } else { post_each(&state, valid, results).await }
}

fn items(body: &[u8], entries_max: usize) -> Result<Vec<&RawValue>, Problem> {
    let object = RawObject::parse(body)?;
    object.check_names(|name| name == "entries")?;
    let invalid = |why: &'static str| Problem::new(Code::InvalidField, why).field("entries");
    let entries = object.get("entries").ok_or_else(|| invalid("entries is missing"))?;
    let items: Vec<&RawValue> = serde_json::from_str(entries.get()).map_err(|_| invalid("entries must be an array"))?;
    if items.is_empty() {
        return Err(invalid("entries must have at least one entry"));
    }
    if items.len() > entries_max {
        return Err(
            Problem::new(Code::BatchTooLarge, format!("a batch may have {entries_max} entries")).field("entries")
        );
    }
    Ok(items)
}

/// An item that is no entry, and what is known of it.
struct Refused {
    kind: Option<Kind>,
    event_id: Option<EventId>,
    problem: Problem,
}

fn parse_item(item: &RawValue, currencies: &Currencies) -> Result<NewEntry, Refused> {
    let nothing = |problem| Refused { kind: None, event_id: None, problem };
    let object = RawObject::parse(item.get().as_bytes()).map_err(nothing)?;
    let kind = item_kind(&object);
    let known_kind = kind.as_ref().ok().copied();
    kind.and_then(|kind| parse_entry(&object, kind, true, currencies)).map_err(|problem| {
        let event_id = object.get("event_id").and_then(|value| serde_json::from_str::<String>(value.get()).ok());
        let event_id = event_id.and_then(|text| EventId::parse(&text).ok());
        Refused { kind: known_kind, event_id, problem }
    })
}

/// The items of one user that go together.
struct UserGroup {
    user_id: UserId,
    keys: Vec<(usize, ItemKey)>,
    entries: Vec<NewEntry>,
}

type Parts = Vec<(Vec<(usize, ItemKey)>, oneshot::Receiver<Posted>)>;

/// Each user's items in their order, through that user's actor.
async fn post_each(
    state: &HttpState,
    valid: Vec<(usize, NewEntry)>,
    mut results: Vec<ItemResult>,
) -> Result<HttpResponse, Problem> {
    if !valid.is_empty() {
        let (messages, parts, deadline) = split_by_user(state, valid)?;
        let all = async {
            send_in_slices(state, messages).await?;
            // The last one first: by then the others are there, and this task is not woken for each of them.
            for (keys, posted) in parts.into_iter().rev() {
                collect(&mut results, keys, posted.await.ok(), &state.settings.currencies)?;
            }
            Ok::<_, Problem>(())
        };
        let answered = tokio::time::timeout_at(deadline.instant(), all).await;
        answered.unwrap_or(Err(PostError::Unavailable.into()))?;
    }
    results.sort_unstable_by_key(|result| result.index);
    Ok(HttpResponse::Ok().json(answer(&results)))
}

/// Lets the messages of others through between the slices.
async fn send_in_slices(state: &HttpState, messages: Vec<ToUser<PostEntries>>) -> Result<(), Problem> {
    let mut messages = messages.into_iter();
    loop {
        let slice: Vec<_> = messages.by_ref().take(BATCH_SLICE_ENTRIES).collect();
        if slice.is_empty() {
            return Ok(());
        }
        let _turn = state.batch_turns.acquire().await.map_err(|_| PostError::Unavailable)?;
        state.registry.send(PostBatch(slice)).await.map_err(|_| PostError::Unavailable)?;
    }
}

fn split_by_user(
    state: &HttpState,
    valid: Vec<(usize, NewEntry)>,
) -> Result<(Vec<ToUser<PostEntries>>, Parts, crate::clock::Deadline), Problem> {
    let (mut permit, deadline) = state.admit(Lane::Bulk, valid.len())?;
    // The newest posting of each user, by its place in `groups`.
    let mut places: HashMap<UserId, usize> = HashMap::new();
    let mut groups: Vec<UserGroup> = Vec::new();
    for (index, entry) in valid {
        let user_id = entry.user_id;
        let place = places.get(&user_id).copied().filter(|place| groups[*place].entries.len() < POSTING_ENTRIES_MAX);
        let place = place.unwrap_or_else(|| {
            groups.push(UserGroup { user_id, keys: Vec::new(), entries: Vec::new() });
            places.insert(user_id, groups.len() - 1);
            groups.len() - 1
        });
        groups[place].keys.push((index, ItemKey::from(&entry)));
        groups[place].entries.push(entry);
    }
    let mut messages = Vec::with_capacity(groups.len());
    let mut parts = Vec::with_capacity(groups.len());
    for UserGroup { user_id, keys, entries } in groups {
        let (reply, answer) = oneshot::channel();
        let permit = permit.split(entries.len());
        parts.push((keys, answer));
        messages.push(ToUser { user_id, message: PostEntries { entries, lane: Lane::Bulk, deadline, permit, reply } });
    }
    Ok((messages, parts, deadline))
}

/// Results of the items that have an outcome. One that was not taken in, or is not known, fails the request.
fn collect(
    results: &mut Vec<ItemResult>,
    keys: Vec<(usize, ItemKey)>,
    posted: Option<Posted>,
    currencies: &Currencies,
) -> Result<(), Problem> {
    let outcomes = posted.map(|posted| posted.outcomes).unwrap_or_default();
    if outcomes.len() != keys.len() {
        return Err(PostError::Unavailable.into());
    }
    for ((index, key), outcome) in keys.into_iter().zip(&outcomes) {
        match outcome {
            EntryOutcome::Failed(error) if error.is_transient() => return Err((*error).into()),
            outcome => results.push(ItemResult::of(index, key, outcome, currencies)),
        }
    }
    Ok(())
}

/// All items in one transaction, or none.
async fn post_atomic(
    state: &HttpState,
    valid: Vec<(usize, NewEntry)>,
    mut results: Vec<ItemResult>,
) -> Result<HttpResponse, Problem> {
    let (keys, entries): (Vec<_>, Vec<_>) =
        valid.into_iter().map(|(index, entry)| ((index, ItemKey::from(&entry)), entry)).unzip();
    if results.is_empty() {
        let (permit, deadline) = state.admit(Lane::Bulk, entries.len())?;
        let (reply, answer) = oneshot::channel();
        state.registry.try_send(PostAtomic { entries, deadline, permit, reply }).map_err(unroutable)?;
        let answered = tokio::time::timeout_at(deadline.instant(), answer).await;
        collect(&mut results, keys, answered.ok().and_then(Result::ok), &state.settings.currencies)?;
    } else {
        let spared = |(index, key): (usize, ItemKey)| ItemResult::new(index, Some(key.event_id), "not_applied");
        results.extend(keys.into_iter().map(spared));
    }
    results.sort_unstable_by_key(|result| result.index);
    match results.iter().find_map(|result| Some((result.index, result.problem.clone()?))) {
        None => Ok(HttpResponse::Ok().json(answer(&results))),
        Some((index, problem)) => {
            let results = serde_json::to_value(&results).unwrap_or_default();
            let field =
                problem.field_name().map_or_else(|| format!("entries[{index}]"), |f| format!("entries[{index}].{f}"));
            Err(problem.field(field).with("results", results))
        }
    }
}

fn answer(results: &[ItemResult]) -> BatchAnswer<'_> {
    let count = |status| results.iter().filter(|result| result.status == status).count();
    BatchAnswer { accepted: count("accepted"), duplicates: count("duplicate"), rejected: count("rejected"), results }
}
