//! Turns the body of a batch into its entries.

use serde_json::value::RawValue;

use crate::domain::{Currencies, EventId, Kind, NewEntry};
use crate::http::entries::Refused;
use crate::http::entries::body::{EntryObject, FIELDS, item_kind, parse_entry};
use crate::http::entries::results::ItemResult;
use crate::http::extract::invalid;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

/// Entries, each with its place in the batch.
pub(super) type Placed = Vec<(usize, NewEntry)>;

/// What a body has.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub valid: Placed,
    /// Of the items that are refused.
    pub results: Vec<ItemResult>,
    pub refused: Refused,
}

pub(super) fn parse(state: &HttpState, body: &[u8]) -> Result<Parsed, Problem> {
    let mut parsed = Parsed::default();
    for (index, item) in items(body, state.settings.limits.batch_entries)?
        .into_iter()
        .enumerate()
    {
        match parse_item(item, &state.settings.currencies) {
            Ok(entry) => parsed.valid.push((index, entry)),
            Err(RefusedItem {
                kind,
                event_id,
                problem,
            }) => {
                parsed.refused.add(kind, problem.code());
                let result = ItemResult::rejected(index, event_id, problem);
                parsed.results.push(result);
            }
        }
    }
    Ok(parsed)
}

/// How many items of a batch are entries, for benches.
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub fn parse_items(body: &[u8], currencies: &Currencies) -> usize {
    let items = items(body, usize::MAX).unwrap_or_default().into_iter();
    items
        .filter_map(|item| parse_item(item, currencies).ok())
        .count()
}

fn items(body: &[u8], entries_max: usize) -> Result<Vec<&RawValue>, Problem> {
    let object = EntryObject::parse(body, &FIELDS)?;
    object.check_names(|name| name == "entries")?;
    let invalid = |why: &'static str| invalid("entries", why);
    let entries = object.required("entries")?;
    let items: Vec<&RawValue> =
        serde_json::from_str(entries.get()).map_err(|_| invalid("must be an array"))?;
    if items.is_empty() {
        return Err(invalid("must have at least one entry"));
    }
    if items.len() > entries_max {
        return Err(Problem::new(
            Code::BatchTooLarge,
            format!("a batch may have {entries_max} entries"),
        )
        .field("entries"));
    }
    Ok(items)
}

/// An item that is refused, with its kind and event id where they could be read.
struct RefusedItem {
    kind: Option<Kind>,
    event_id: Option<EventId>,
    problem: Problem,
}

fn parse_item(item: &RawValue, currencies: &Currencies) -> Result<NewEntry, RefusedItem> {
    let nothing = |problem| RefusedItem {
        kind: None,
        event_id: None,
        problem,
    };
    let object = EntryObject::parse(item.get().as_bytes(), &FIELDS).map_err(nothing)?;
    let kind = item_kind(&object);
    let known_kind = kind.as_ref().ok().copied();
    kind.and_then(|kind| parse_entry(&object, kind, true, currencies))
        .map_err(|problem| {
            let event_id = object
                .get("event_id")
                .and_then(|value| serde_json::from_str::<String>(value.get()).ok());
            let event_id = event_id.and_then(|text| EventId::parse(&text).ok());
            RefusedItem {
                kind: known_kind,
                event_id,
                problem,
            }
        })
}
