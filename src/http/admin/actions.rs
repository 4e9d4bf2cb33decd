//! The orders of administrators. Each is logged before it is carried out, with the name of the token that gave it; what
//! can't be logged is not done. A balance is never changed here.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use tokio::sync::oneshot;

use crate::coordinator::messages::{CloseReason, RetireActor, Retirement, ToActor, ToUser};
use crate::domain::UserId;
use crate::http::admin::{Code, HttpState, Problem, no_answer};
use crate::http::extract::admin::authorize;
use crate::http::extract::path_user;
use crate::http::users::{BalanceQuery, ask_balance, balance_json};
use crate::ledger::AdminAction;

/// Lets the order in and writes it down.
async fn ordered(
    request: &HttpRequest,
    state: &HttpState,
    action: &'static str,
) -> Result<UserId, Problem> {
    let admin = authorize(request, state)?;
    let user_id = path_user(request)?;
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    state
        .ledger
        .log_action(AdminAction::new(
            admin,
            action,
            user_id,
            state.clock.now_us(),
        ))
        .await?;
    log::info!("administrator {admin}: {action} of user {user_id}");
    Ok(user_id)
}

/// `POST /admin/v1/actors/{user_id}/refresh`: asks the ledger, and answers with what it says.
pub(in crate::http) async fn refresh(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let user_id = ordered(&request, &state, "refresh").await?;
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

/// `POST /admin/v1/actors/{user_id}/push`: sends what waits, whatever the pacing says.
pub(in crate::http) async fn push(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let user_id = ordered(&request, &state, "push").await?;
    let (reply, answer) = oneshot::channel();
    state.registry.try_send(ToUser {
        user_id,
        message: ToActor::PushNow { reply },
    })?;
    let pushed = match tokio::time::timeout(state.timeout(), answer).await {
        Ok(Ok(pushed)) => pushed?,
        // Not resident: nobody is there to be told anything.
        Ok(Err(_)) => false,
        Err(_) => return Err(no_answer()),
    };
    Ok(HttpResponse::Ok().json(json!({ "pushed": pushed })))
}

/// `POST /admin/v1/actors/{user_id}/retire`: takes it out of memory, unless something is under way.
pub(in crate::http) async fn retire(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let user_id = ordered(&request, &state, "retire").await?;
    let retired = state
        .registry
        .send(RetireActor(user_id))
        .timeout(state.timeout())
        .await
        .map_err(|_| no_answer())?;
    let reason = match retired {
        Retirement::Retired => return Ok(HttpResponse::Ok().json(json!({ "retired": true }))),
        Retirement::NotResident => "not_resident",
        Retirement::Busy => "busy",
        Retirement::PushedLately => "pushed_lately",
    };
    Ok(HttpResponse::Ok().json(json!({ "retired": false, "reason": reason })))
}

/// `POST /admin/v1/actors/{user_id}/disconnect`: closes the user's sessions with 4510.
pub(in crate::http) async fn disconnect(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let user_id = ordered(&request, &state, "disconnect").await?;
    let message = ToActor::CloseSessions(CloseReason::ClosedByAdministrator);
    state.registry.try_send(ToUser { user_id, message })?;
    Ok(HttpResponse::NoContent().finish())
}
