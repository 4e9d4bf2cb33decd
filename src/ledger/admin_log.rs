//! The log of what administrators have ordered: a row for each, durable before the order is carried out.
//!
//! Rows are only ever added. Written by the writers, like everything; read like everything else by the read pool.

use diesel::prelude::*;
use rand::Rng as _;
use serde::Serialize;

use crate::clock;
use crate::domain::UserId;

use super::connection::AnyConnection;
use super::reads::ReadError;
use super::schema::admin_log;

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
        Self { id, admin: admin.to_owned(), action, user_id, at_us }
    }
}

/// The statement of [`super::store::Store::log_action`], the same on both databases.
macro_rules! log_action_row {
    ($connection:expr, $action:expr) => {{
        use crate::ledger::schema::admin_log::dsl as l;
        diesel::insert_into(l::admin_log)
            .values((
                l::action_id.eq(&$action.id),
                l::at_us.eq($action.at_us),
                l::admin.eq(&$action.admin),
                l::action.eq($action.action),
                l::user_id.eq($action.user_id.get()),
            ))
            .on_conflict_do_nothing()
            .execute($connection)?;
        Ok(())
    }};
}
pub(super) use log_action_row;

/// A row of the log, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdminRecord {
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub admin: String,
    /// What.
    pub action: String,
    /// Whom it concerns.
    pub user_id: i64,
}

/// The latest rows, newest first.
pub(super) fn latest(connection: &mut AnyConnection, limit: i64) -> Result<Vec<AdminRecord>, ReadError> {
    let rows: Vec<(i64, String, String, i64)> = admin_log::table
        .order(admin_log::id.desc())
        .limit(limit)
        .select((admin_log::at_us, admin_log::admin, admin_log::action, admin_log::user_id))
        .load(connection)?;
    let shown = |(at_us, admin, action, user_id)| AdminRecord { at: clock::rfc3339(at_us), admin, action, user_id };
    Ok(rows.into_iter().map(shown).collect())
}
