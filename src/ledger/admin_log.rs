//! The log of what administrators have ordered: a row for each, durable before the order is carried out.
//!
//! Rows are only ever added. Written by the writers, like everything; read like everything else by the read pool.

use rand::Rng as _;

use crate::domain::UserId;

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
