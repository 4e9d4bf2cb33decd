//! The results of a batch's items.

use serde::Serialize;

use crate::domain::{EventId, Outcome};
use crate::http::entries::refusal;
use crate::http::problem::Problem;
use crate::ledger::{EntryOutcome, PostError, Posted};

/// The result of one item.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ItemResult {
    pub index: usize,
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
    pub problem: Option<Problem>,
}

#[derive(Debug, Serialize)]
pub(super) struct BatchAnswer<'a> {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    results: &'a [ItemResult],
}

impl ItemResult {
    pub(super) fn new(index: usize, event_id: Option<EventId>, status: &'static str) -> Self {
        Self {
            index,
            event_id,
            status,
            version: None,
            code: None,
            field: None,
            problem: None,
        }
    }

    pub(super) fn rejected(index: usize, event_id: Option<EventId>, problem: Problem) -> Self {
        Self {
            code: Some(problem.code().as_str()),
            field: problem.field_name().map(str::to_owned),
            problem: Some(problem),
            ..Self::new(index, event_id, "rejected")
        }
    }

    fn of(index: usize, event_id: EventId, outcome: &EntryOutcome) -> Self {
        let new = |status, version| Self {
            version,
            ..Self::new(index, Some(event_id.clone()), status)
        };
        match outcome {
            EntryOutcome::NotApplied => new("not_applied", None),
            EntryOutcome::Decided {
                outcome: Outcome::Accepted { version, .. },
                ..
            } => new("accepted", Some(*version)),
            EntryOutcome::Decided {
                outcome: Outcome::Duplicate(first),
                ..
            } => new("duplicate", Some(first.version)),
            EntryOutcome::Decided {
                outcome: refused, ..
            } => Self::rejected(index, Some(event_id), refusal(refused)),
            EntryOutcome::Failed(error) => Self::rejected(index, Some(event_id), (*error).into()),
        }
    }
}

/// The outcomes of a posting, one for each of its items.
///
/// # Errors
/// When an item was not accepted for a transient reason or its outcome is unknown: then the whole request fails.
pub(super) fn outcomes(items: usize, posted: Option<Posted>) -> Result<Vec<EntryOutcome>, Problem> {
    let outcomes = posted.map(|posted| posted.outcomes).unwrap_or_default();
    if outcomes.len() != items {
        return Err(PostError::Unavailable.into());
    }
    let failed = outcomes.iter().find_map(|outcome| match outcome {
        EntryOutcome::Failed(error) if error.is_transient() => Some(*error),
        _ => None,
    });
    failed.map_or(Ok(outcomes), |error| Err(error.into()))
}

/// Adds the results of items with an outcome.
pub(super) fn collect(
    results: &mut Vec<ItemResult>,
    keys: Vec<(usize, EventId)>,
    outcomes: &[EntryOutcome],
) {
    let known = keys.into_iter().zip(outcomes);
    results
        .extend(known.map(|((index, event_id), outcome)| ItemResult::of(index, event_id, outcome)));
}

pub(super) fn answer(results: &[ItemResult]) -> BatchAnswer<'_> {
    let count = |status| {
        results
            .iter()
            .filter(|result| result.status == status)
            .count()
    };
    BatchAnswer {
        accepted: count("accepted"),
        duplicates: count("duplicate"),
        rejected: count("rejected"),
        results,
    }
}
