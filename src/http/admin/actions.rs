//! The actions of administrators. Each is written to the admin log before it is carried out, with the name of the token; an
//! action that can't be logged is not carried out. No action changes a balance.
//!
//! In a cluster each is carried out at this node and, meanwhile, at all others. This node alone decides the status: what the
//! others have answered, and which have not, is told beside it.

use std::future::Future;

use actix_web::HttpResponse;
use futures_util::future::join;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cluster::carrying::{Unknown, close_sessions, members, retired};
use crate::cluster::orders::{NodeAnswer, Others};
use crate::cluster::wire::Action;
use crate::coordinator::messages::{RetireActor, ToActor, ToUser};
use crate::domain::UserId;
use crate::http::admin::{Answer, Code, Data, HttpState, Problem, ask, no_answer};
use crate::http::extract::PathUser;
use crate::http::extract::admin::Admin;
use crate::http::users::{BalanceQuery, ask_balance, balance_json};
use crate::ledger::AdminAction;

/// A request for an action on the path's user.
type Order = Admin<PathUser>;

/// Writes the action to the admin log, and returns its user.
async fn ordered(state: &HttpState, order: Order, action: Action) -> Result<UserId, Problem> {
    let Admin {
        name,
        address,
        asked,
    } = order;
    let PathUser(user_id) = asked;
    let action = action.as_str();
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    state
        .ledger
        .log_action(AdminAction::new(
            &name,
            action,
            user_id,
            state.clock.wall().us(),
        ))
        .await?;
    log::info!("administrator {name}: {action} of user {user_id}, from {address}");
    Ok(user_id)
}

/// What an action did at this node: the answer without other nodes, and what is told beside theirs.
struct Own {
    answer: Value,
    beside: Value,
}

impl Own {
    /// One that says the same in both places.
    fn same(answer: Value) -> Self {
        Self {
            beside: answer.clone(),
            answer,
        }
    }
}

/// Waits for this node and the others. Without a bus the answer is this node's alone.
async fn everywhere(
    state: &HttpState,
    action: Action,
    user_id: UserId,
    own: impl Future<Output = Result<Own, Problem>>,
) -> Result<Value, Problem> {
    if !state.cluster.has_bus() {
        return Ok(own.await?.answer);
    }
    let (own, others) = join(own, state.cluster.tell_others(action, user_id)).await;
    let Own { mut answer, beside } = own?;
    add_nodes(state, &mut answer, beside, others);
    Ok(answer)
}

/// Adds what each node said, this one first, and the nodes that were not heard of.
pub(super) fn add_nodes(state: &HttpState, answer: &mut Value, own: Value, others: Others) {
    let own = NodeAnswer {
        name: state.cluster.own_name(),
        answer: members(own),
    };
    let mut nodes = vec![own];
    nodes.extend(others.answered);
    answer["nodes"] = json!(nodes);
    answer["not_heard_of"] = json!(others.not_heard_of);
}

/// `POST /admin/v1/actors/{user_id}/refresh`: reads the ledger, and answers with its balance.
pub(in crate::http) async fn refresh(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, Action::Refresh).await?;
    let fresh = BalanceQuery {
        fresh: true,
        min_version: None,
    };
    let own = async {
        let view = ask_balance(&state, user_id, &fresh).await?;
        let beside = if view.is_stale {
            json!({ "refreshed": false, "reason": "ledger_unavailable" })
        } else {
            json!({ "refreshed": true, "version": view.account.version })
        };
        let answer = balance_json(&state, user_id, &view);
        Ok(Own { answer, beside })
    };
    let answer = everywhere(&state, Action::Refresh, user_id, own).await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// `POST /admin/v1/actors/{user_id}/push`: sends pending changes now, regardless of pacing.
pub(in crate::http) async fn push(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, Action::Push).await?;
    let own = async {
        let (reply, answer) = oneshot::channel();
        state.registry.try_send(ToUser {
            user_id,
            message: ToActor::PushNow { reply },
        })?;
        let pushed = match tokio::time::timeout(state.timeout(), answer).await {
            Ok(Ok(pushed)) => pushed?,
            // Not resident: the user has no session to push to.
            Ok(Err(_)) => false,
            Err(_) => return Err(no_answer()),
        };
        Ok(Own::same(json!({ "pushed": pushed })))
    };
    let answer = everywhere(&state, Action::Push, user_id, own).await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// `POST /admin/v1/actors/{user_id}/retire`: removes the actor from memory, unless it is in use.
pub(in crate::http) async fn retire(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, Action::Retire).await?;
    let own = async { Ok(Own::same(retired(ask(&state, RetireActor(user_id)).await?))) };
    let answer = everywhere(&state, Action::Retire, user_id, own).await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// `POST /admin/v1/actors/{user_id}/disconnect`: closes the user's sessions with 4510. They are counted only in a cluster.
pub(in crate::http) async fn disconnect(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, Action::Disconnect).await?;
    if !state.cluster.has_bus() {
        close_sessions(&state.registry, user_id)?;
        return Ok(HttpResponse::NoContent().finish());
    }
    let own = async {
        let here = state.here();
        let carried = here.carry_out(Action::Disconnect, user_id);
        let counted = tokio::time::timeout(state.timeout(), carried).await;
        let beside = counted
            .map_err(|_| no_answer())?
            .map_err(|Unknown| no_answer())?;
        Ok(Own {
            answer: json!({}),
            beside,
        })
    };
    let answer = everywhere(&state, Action::Disconnect, user_id, own).await?;
    Ok(HttpResponse::Ok().json(answer))
}
