//! `GET /internal/v1/balances`: all users of the ledger, page by page.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};

use crate::coordinator::Shown;
use crate::domain::UserId;
use crate::http::extract::signed::Signed;
use crate::http::extract::{Query, invalid};
use crate::http::following::{ROWS_DEFAULT, in_range};
use crate::http::problem::Answer;
use crate::http::state::Data;
use crate::limits::BALANCES_MAX;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BalancesQuery {
    after: Option<i64>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Page<'a> {
    balances: Vec<Row<'a>>,
    /// The user behind whom the next page begins; none after the last page.
    next: Option<UserId>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    user_id: UserId,
    version: i64,
    balances: Shown<'a>,
}

/// `GET /internal/v1/balances`
pub(in crate::http) async fn balances(
    state: Data,
    request: Signed<Query<BalancesQuery>>,
) -> Answer {
    let Query(BalancesQuery { after, limit }) = request.asked;
    let limit = in_range("limit", limit, ROWS_DEFAULT, 1..=BALANCES_MAX)?;
    let after = after.map(UserId::new).transpose();
    let after = after.map_err(|error| invalid("after", error))?;
    // One more tells whether there is another page.
    let mut accounts = state
        .ledger
        .accounts(after.map_or(0, UserId::get), limit + 1)
        .await?;
    let rows_max = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = accounts.len() > rows_max;
    accounts.truncate(rows_max);
    let next = accounts.last().map(|last| last.user_id);
    let balances = accounts.iter().map(|of| Row {
        user_id: of.user_id,
        version: of.account.version,
        balances: Shown(&state.settings.currencies, &of.account.balances),
    });
    Ok(HttpResponse::Ok().json(Page {
        balances: balances.collect(),
        next: next.filter(|_| has_more),
    }))
}
