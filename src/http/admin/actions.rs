//! The actions of administrators. Each is written to the admin log before it is carried out, with the name of the token; an
//! action that can't be logged is not carried out. No action changes a balance.

use actix_web::HttpResponse;
use serde_json::json;
use tokio::sync::oneshot;

use crate::coordinator::messages::{CloseReason, RetireActor, Retirement, ToActor, ToUser};
use crate::domain::UserId;
use crate::http::admin::{Answer, Code, Data, HttpState, Problem, ask, no_answer};
use crate::http::extract::PathUser;
use crate::http::extract::admin::Admin;
use crate::http::users::{BalanceQuery, ask_balance, balance_json};
use crate::ledger::AdminAction;

/// A request for an action on the path's user.
type Order = Admin<PathUser>;

/// Writes the action to the admin log, and returns its user.
async fn ordered(state: &HttpState, order: Order, action: &'static str) -> Result<UserId, Problem> {
    let Admin { name, asked } = order;
    let PathUser(user_id) = asked;
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
    log::info!("administrator {name}: {action} of user {user_id}");
    Ok(user_id)
}

/// `POST /admin/v1/actors/{user_id}/refresh`: reads the ledger, and answers with its balance.
pub(in crate::http) async fn refresh(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, "refresh").await?;
    let view = ask_balance(
        &state,
        user_id,
        &BalanceQuery {
            fresh: true,
            min_version: None,
        },
    )
    .await?;
    Ok(HttpResponse::Ok().json(balance_json(&state, user_id, &view)))
}

/// `POST /admin/v1/actors/{user_id}/push`: sends pending changes now, regardless of pacing.
pub(in crate::http) async fn push(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, "push").await?;
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
    Ok(HttpResponse::Ok().json(json!({ "pushed": pushed })))
}

/// `POST /admin/v1/actors/{user_id}/retire`: removes the actor from memory, unless it is in use.
pub(in crate::http) async fn retire(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, "retire").await?;
    let reason = match ask(&state, RetireActor(user_id)).await? {
        Retirement::Retired => return Ok(HttpResponse::Ok().json(json!({ "retired": true }))),
        Retirement::NotResident => "not_resident",
        Retirement::Busy => "busy",
        Retirement::PushedLately => "pushed_lately",
    };
    Ok(HttpResponse::Ok().json(json!({ "retired": false, "reason": reason })))
}

/// `POST /admin/v1/actors/{user_id}/disconnect`: closes the user's sessions with 4510.
pub(in crate::http) async fn disconnect(state: Data, order: Order) -> Answer {
    let user_id = ordered(&state, order, "disconnect").await?;
    let message = ToActor::CloseSessions(CloseReason::ClosedByAdministrator);
    state.registry.try_send(ToUser { user_id, message })?;
    Ok(HttpResponse::NoContent().finish())
}
