//! The signed webhooks that post one entry each. They answer 200 only after the entry is durable.

use actix_web::HttpResponse;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::clock;
use crate::coordinator::Shown;
use crate::coordinator::messages::{PostEntries, ToActor, ToUser};
use crate::domain::{Balances, EventId, Kind, NewEntry, Outcome, Recorded, UserId};
use crate::http::entries::body::{EntryObject, FIELDS, parse_entry};
use crate::http::entries::{Refused, refusal};
use crate::http::extract::signed::SignedJson;
use crate::http::problem::{Answer, Problem};
use crate::http::state::{Data, HttpState};
use crate::ledger::{EntryOutcome, Lane, PostError};

/// The answer to one entry.
#[derive(Debug, Serialize)]
struct Receipt<'a> {
    event_id: &'a EventId,
    user_id: UserId,
    version: i64,
    duplicate: bool,
    balances: Shown<'a>,
    /// Of a reversal: the entry that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reverses: Option<EventId>,
    committed_at: String,
}

/// `POST /internal/v1/deposits`
pub(in crate::http) async fn deposits(state: Data, request: SignedJson) -> Answer {
    post(&state, &request.0.body, Kind::Deposit).await
}

/// `POST /internal/v1/rewards`
pub(in crate::http) async fn rewards(state: Data, request: SignedJson) -> Answer {
    post(&state, &request.0.body, Kind::Reward).await
}

/// `POST /internal/v1/withdrawals`
pub(in crate::http) async fn withdrawals(state: Data, request: SignedJson) -> Answer {
    post(&state, &request.0.body, Kind::Withdrawal).await
}

/// `POST /internal/v1/adjustments`
pub(in crate::http) async fn adjustments(state: Data, request: SignedJson) -> Answer {
    post(&state, &request.0.body, Kind::Adjustment).await
}

/// `POST /internal/v1/reversals`
pub(in crate::http) async fn reversals(state: Data, request: SignedJson) -> Answer {
    post(&state, &request.0.body, Kind::Reversal).await
}

async fn post(state: &HttpState, body: &[u8], kind: Kind) -> Answer {
    let entry = EntryObject::parse(body, &FIELDS)
        .and_then(|object| parse_entry(&object, kind, false, &state.settings.currencies))
        .inspect_err(|problem| {
            let mut refused = Refused::default();
            refused.add(Some(kind), problem.code());
            refused.count(&state.counters);
        })?;
    let (event_id, user_id) = (entry.event_id.clone(), entry.user_id);
    let (outcome, committed_at_us) = commit(state, entry).await?;
    let (version, balances, reverses, committed_at_us, duplicate) = match outcome {
        Outcome::Accepted {
            version,
            balances,
            applied,
        } => {
            let reverses = applied.reversed.map(|reversed| reversed.event_id);
            (version, balances, reverses, committed_at_us, false)
        }
        Outcome::Duplicate(first) => {
            let balances = balances_at(state, &first).await?;
            let version = first.version;
            log::debug!(
                "entry is a duplicate event_id={:?} user_id={user_id} version={version}",
                event_id.as_str()
            );
            let Recorded {
                version,
                reverses,
                committed_at_us,
                ..
            } = first;
            (version, balances, reverses, committed_at_us, true)
        }
        refused => return Err(refusal(&refused)),
    };
    Ok(HttpResponse::Ok().json(Receipt {
        event_id: &event_id,
        user_id,
        version,
        duplicate,
        balances: Shown(&state.settings.currencies, &balances),
        reverses,
        committed_at: clock::rfc3339(committed_at_us),
    }))
}

/// Sends one entry through its user's actor and waits for the commit.
async fn commit(state: &HttpState, entry: NewEntry) -> Result<(Outcome, i64), Problem> {
    let (permit, deadline) = state.admit(Lane::Single, 1)?;
    let user_id = entry.user_id;
    let (reply, answer) = oneshot::channel();
    let message = ToActor::PostEntries(PostEntries {
        entries: vec![entry],
        lane: Lane::Single,
        deadline,
        permit,
        reply,
    });
    state.registry.try_send(ToUser { user_id, message })?;
    let unknown = |_| Problem::from(PostError::Unavailable);
    let posted = state
        .by_deadline(deadline, answer)
        .await?
        .map_err(unknown)?;
    match posted.outcomes.into_iter().next() {
        Some(EntryOutcome::Decided {
            outcome,
            committed_at_us,
        }) => Ok((outcome, committed_at_us)),
        Some(EntryOutcome::Failed(error)) => Err(error.into()),
        Some(EntryOutcome::NotApplied) | None => Err(PostError::Unavailable.into()),
    }
}

/// The balances as they were when the first request with this event was answered, so that a duplicate gets the same answer.
async fn balances_at(state: &HttpState, first: &Recorded) -> Result<Balances, Problem> {
    Ok(state
        .ledger
        .balances_at(first.user_id, first.version)
        .await?)
}
