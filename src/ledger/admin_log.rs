//! The log of what administrators have ordered: a row for each, durable before the order is carried out.
//!
//! Rows are only ever added. Written by the writers, like everything; read like everything else by the read pool.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use rand::Rng as _;

use crate::domain::UserId;

use super::connection::AnyConnection;

/// An order of an administrator.
#[derive(Debug, Clone)]
pub struct AdminAction {
    pub(super) id: String,
    /// Who, by the name of the token.
    pub admin: String,
    /// What: one word.
    pub action: &'static str,
    /// Whom it concerns.
    pub user_id: UserId,
    /// When, microseconds since the Unix epoch.
    pub at_us: i64,
}

impl AdminAction {
    /// An order given now.
    pub fn new(admin: &str, action: &'static str, user_id: UserId, at_us: i64) -> Self {
        let id = format!("{:032x}", rand::rng().random::<u128>());
        Self {
            id,
            admin: admin.to_owned(),
            action,
            user_id,
            at_us,
        }
    }
}

/// Adds an order to the log; repeating it changes nothing.
pub(super) fn add(connection: &mut AnyConnection, action: &AdminAction) -> QueryResult<()> {
    // Diesel has no `ON CONFLICT` for both databases at once.
    sql_query(
        "INSERT INTO admin_log (action_id, at_us, admin, action, user_id) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(&action.id)
    .bind::<BigInt, _>(action.at_us)
    .bind::<Text, _>(&action.admin)
    .bind::<Text, _>(action.action)
    .bind::<BigInt, _>(action.user_id.get())
    .execute(connection)
    .map(|_| ())
}
