//! What the coordinator holds in memory: totals, actors and sessions.

use std::time::Duration;

use actix_web::HttpResponse;
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::carrying::{self, Unknown};
use crate::cluster::orders::NodeName;
use crate::cluster::wire::Action;
use crate::coordinator::messages::{InspectRegistry, ListActors, ListSessions};
use crate::coordinator::{ActorInspection, ActorSummary, SessionInspection};
use crate::domain::UserId;
use crate::http::admin::actions::add_nodes;
use crate::http::admin::{Answer, Code, Data, HttpState, NoQuery, Problem, ask, no_answer, rows};
use crate::http::extract::admin::Admin;
use crate::http::extract::{PathUser, Query, invalid};
use crate::http::users::{BalanceQuery, HistoryQuery, ask_balance, history};
use crate::ledger::Lane;
use crate::limits::INSPECTION_MS;

/// `GET /admin/v1/registry`
pub(in crate::http) async fn registry(state: Data, _: Admin<Query<NoQuery>>) -> Answer {
    Ok(HttpResponse::Ok().json(totals(&state).await?))
}

/// The registry's totals with those of the ledger's queues.
pub(super) async fn totals(state: &HttpState) -> Result<Value, Problem> {
    let mut answer = json!(ask(state, InspectRegistry).await?);
    if let Some(members) = answer.as_object_mut() {
        members.insert(
            "queue_single".into(),
            json!(state.admission.waiting(Lane::Single)),
        );
        members.insert(
            "queue_bulk".into(),
            json!(state.admission.waiting(Lane::Bulk)),
        );
        members.insert(
            "uptime_s".into(),
            json!(Duration::from_micros(state.clock.mono().us()).as_secs()),
        );
    }
    Ok(answer)
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    UserId,
    Sessions,
    Entries,
    IdleMs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ActorsQuery {
    limit: Option<usize>,
    after: Option<i64>,
    #[serde(default)]
    sort: Sort,
}

/// `GET /admin/v1/actors`
pub(in crate::http) async fn actors(state: Data, admin: Admin<Query<ActorsQuery>>) -> Answer {
    let Query(wanted) = admin.asked;
    let limit = rows(wanted.limit)?;
    let mut all = ask(&state, ListActors).await?;
    let descending = |key: fn(&ActorSummary) -> u64| {
        move |actor: &ActorSummary| (std::cmp::Reverse(key(actor)), actor.user_id)
    };
    match wanted.sort {
        Sort::UserId => all.sort_unstable_by_key(|actor| actor.user_id),
        Sort::Sessions => all.sort_unstable_by_key(descending(|actor| actor.sessions as u64)),
        Sort::Entries => all.sort_unstable_by_key(descending(|actor| actor.entries)),
        Sort::IdleMs => all.sort_unstable_by_key(descending(|actor| actor.idle_ms)),
    }
    if let Some(after) = wanted.after {
        if !matches!(wanted.sort, Sort::UserId) {
            return Err(invalid("after", "goes with sort=user_id"));
        }
        all.retain(|actor| actor.user_id.get() > after);
    }
    all.truncate(limit);
    Ok(HttpResponse::Ok().json(json!({ "actors": all })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ActorQuery {
    #[serde(default)]
    activate: bool,
}

/// `GET /admin/v1/actors/{user_id}`: as the actor describes itself; when it does not answer, as the registry sees it,
/// marked stale. With what each node has of the user; an actor that is resident on other nodes alone is shown without
/// content.
pub(in crate::http) async fn actor(
    state: Data,
    admin: Admin<(PathUser, Query<ActorQuery>)>,
) -> Answer {
    let (PathUser(user_id), Query(ActorQuery { activate })) = admin.asked;
    let asking = state.cluster.tell_others(Action::Inspect, user_id);
    let (own, others) = join(inspect(&state, user_id), asking).await;
    let mut own = own?;
    if activate && own.is_none() {
        // The answer does not matter: asking makes the actor resident.
        let _ = ask_balance(&state, user_id, &BalanceQuery::default()).await;
        own = inspect(&state, user_id).await?;
    }
    let is_elsewhere = others
        .answered
        .iter()
        .any(|node| node.answer.get("resident") == Some(&Value::Bool(true)));
    if own.is_none() && !is_elsewhere {
        return Err(absent(&others.not_heard_of));
    }
    let in_short = state.here().described(own.as_ref());
    let shown = own.unwrap_or_else(|| ActorInspection::absent(user_id, state.clock.wall()));
    let mut answer = json!(shown);
    add_nodes(&state, &mut answer, in_short, others);
    Ok(HttpResponse::Ok().json(answer))
}

fn absent(not_heard_of: &[NodeName]) -> Problem {
    let mut detail = "the actor of this user is not resident".to_owned();
    if !not_heard_of.is_empty() {
        let names: Vec<_> = not_heard_of.iter().map(|name| &*name.node).collect();
        detail = format!("{detail}; not heard of: {}", names.join(", "));
    }
    Problem::new(Code::NotFound, detail).with("not_heard_of", json!(not_heard_of))
}

/// One actor as it describes itself, or as the registry sees it when it does not answer; `None` when it is not resident.
pub(super) async fn inspect(
    state: &HttpState,
    user_id: UserId,
) -> Result<Option<ActorInspection>, Problem> {
    let asking = carrying::inspect(&state.registry, user_id, patience(state));
    let bound = state.timeout() + patience(state);
    match tokio::time::timeout(bound, asking).await {
        Ok(Ok(inspection)) => Ok(inspection),
        Ok(Err(Unknown)) | Err(_) => Err(no_answer()),
    }
}

/// How long an actor may take to describe itself.
fn patience(state: &HttpState) -> Duration {
    Duration::from_millis(INSPECTION_MS).min(state.timeout())
}

/// `GET /admin/v1/actors/{user_id}/entries`: the history that back ends read.
pub(in crate::http) async fn entries(
    state: Data,
    admin: Admin<(PathUser, Query<HistoryQuery>)>,
) -> Answer {
    let (PathUser(user_id), Query(query)) = admin.asked;
    Ok(HttpResponse::Ok().json(history(&state, user_id, &query).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SessionsQuery {
    limit: Option<usize>,
    #[serde(default)]
    after: i64,
}

#[derive(Debug, Serialize)]
struct Listed {
    user_id: UserId,
    #[serde(flatten)]
    session: SessionInspection,
}

/// `GET /admin/v1/sessions`: ordered by user, then by time of attachment.
pub(in crate::http) async fn sessions(state: Data, admin: Admin<Query<SessionsQuery>>) -> Answer {
    let Query(SessionsQuery { limit, after }) = admin.asked;
    let limit = rows(limit)?;
    let wanted = ListSessions { after, limit };
    let asked = ask(&state, wanted).await?;
    let until = state.clock.deadline(patience(&state));
    let (mut sessions, mut silent, mut next_after) = (Vec::new(), Vec::new(), None);
    for user in asked {
        match tokio::time::timeout_at(until.instant(), user.answer).await {
            // More sessions than were counted: the next page begins with this user.
            Ok(Ok(found)) if sessions.len() + found.len() > limit && next_after.is_some() => break,
            Ok(Ok(found)) => sessions.extend(found.into_iter().map(|session| Listed {
                user_id: user.user_id,
                session,
            })),
            Ok(Err(_)) | Err(_) => {
                silent.push(json!({ "user_id": user.user_id, "sessions": user.sessions }))
            }
        }
        next_after = Some(user.user_id);
    }
    sessions.truncate(limit);
    Ok(HttpResponse::Ok()
        .json(json!({ "sessions": sessions, "silent": silent, "next_after": next_after })))
}
