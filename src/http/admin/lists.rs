//! Lists of what happened: the latest events of this process, refused entries, and actions of administrators.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use serde::Deserialize;
use serde_json::json;

use crate::coordinator::EventKind;
use crate::coordinator::messages::ListRecent;
use crate::http::admin::{Answer, Data, NoQuery, Problem, ask, rows};
use crate::http::extract::admin::Admin;
use crate::http::extract::{Query, invalid, query_user};
use crate::limits::CANARY_RUNS_MAX;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EventsQuery {
    limit: Option<usize>,
    #[serde(default)]
    after: u64,
    user_id: Option<i64>,
    kind: Option<String>,
}

/// `GET /admin/v1/events`
pub(in crate::http) async fn events(state: Data, admin: Admin<Query<EventsQuery>>) -> Answer {
    let Query(query) = admin.asked;
    let user_id = query_user(query.user_id)?;
    let kinds = query.kind.as_deref().map(event_kinds).transpose()?;
    let wanted = ListRecent {
        limit: rows(query.limit)?,
        after: query.after,
        user_id,
        kinds,
    };
    Ok(HttpResponse::Ok().json(ask(&state, wanted).await?))
}

/// A list of kinds, separated by commas.
fn event_kinds(list: &str) -> Result<Vec<EventKind>, Problem> {
    let known = || EventKind::names().join(", ");
    let kind = |name| {
        let unknown = || invalid("kind", format!("must be one or more of {}", known()));
        EventKind::parse(name).ok_or_else(unknown)
    };
    list.split(',').map(kind).collect()
}

/// The parameter of a list that has no others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RowsQuery {
    limit: Option<usize>,
}

/// `GET /admin/v1/conflicts`
pub(in crate::http) async fn conflicts(state: Data, admin: Admin<Query<RowsQuery>>) -> Answer {
    Ok(HttpResponse::Ok().json(state.ledger.conflicts(limit(&admin)?).await?))
}

/// `GET /admin/v1/audit`
pub(in crate::http) async fn audit(state: Data, _: Admin<Query<NoQuery>>) -> Answer {
    Ok(HttpResponse::Ok().json(state.audit.show()))
}

/// `GET /admin/v1/cluster`
pub(in crate::http) async fn cluster(state: Data, _: Admin<Query<NoQuery>>) -> Answer {
    Ok(HttpResponse::Ok().json(state.cluster.show()))
}

/// `GET /admin/v1/canary`
pub(in crate::http) async fn canary(state: Data, _: Admin<Query<NoQuery>>) -> Answer {
    let every_s = state.settings.canary.every_s;
    Ok(HttpResponse::Ok()
        .json(json!({ "every_s": every_s, "runs": state.canary.newest(CANARY_RUNS_MAX) })))
}

/// `GET /admin/v1/log`
pub(in crate::http) async fn log(state: Data, admin: Admin<Query<RowsQuery>>) -> Answer {
    let log = state.ledger.latest_actions(limit(&admin)?).await?;
    Ok(HttpResponse::Ok().json(BTreeMap::from([("log", log)])))
}

fn limit(admin: &Admin<Query<RowsQuery>>) -> Result<i64, Problem> {
    let rows = rows(admin.asked.0.limit)?;
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}
