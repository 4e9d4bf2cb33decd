//! `POST /api/v1/sessions`: a session token for a user whom Telegram's init data names.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::http::extract::json::{JsonBody, JsonObject};
use crate::http::extract::sign_in::Credentials;
use crate::http::extract::visitor::{WithinRate, authenticate};
use crate::http::problem::Answer;
use crate::http::state::Data;
use crate::http::users::issue_token;
use crate::limits::INIT_DATA_BYTES_MAX;

/// Leaves room for JSON escapes and for the name.
const BODY_BYTES_MAX: usize = 2 * INIT_DATA_BYTES_MAX + 64;

/// `POST /api/v1/sessions`
pub(in crate::http) async fn create(
    state: Data,
    WithinRate(JsonBody(body)): WithinRate<JsonBody<BODY_BYTES_MAX>>,
    request: HttpRequest,
) -> Answer {
    let body = JsonObject::closed(&body, &["init_data"])?;
    let init_data = Credentials::InitData(body.required_text("init_data")?);
    let session = authenticate(&request, &state, &init_data).await?;
    let access = state.access.now();
    let ttl_s = access.auth.session_ttl_s;
    let (token, expires_at) = issue_token(&state, &access, session.user_id, ttl_s);
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({ "token": token, "expires_at": expires_at, "user_id": session.user_id })))
}
