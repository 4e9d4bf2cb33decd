//! Makes users and links Telegram ids to them: `PUT /internal/v1/users/{id}`.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;

use crate::domain::{TelegramId, UserId};

use super::connection::AnyConnection;
use super::schema::accounts;

/// A user to make, or to link a Telegram id to.
#[derive(Debug, Clone, Copy)]
pub struct PutUser {
    /// The user.
    pub user_id: UserId,
    /// The Telegram id to link, if any.
    pub telegram_id: Option<TelegramId>,
    /// Now, in microseconds since the Unix epoch.
    pub now_us: i64,
}

/// What became of a [`PutUser`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutUserOutcome {
    /// It is stored; the Telegram id that the user has now.
    Stored {
        /// Linked, if any.
        telegram_id: Option<i64>,
    },
    /// The Telegram id belongs to another user; nothing changed.
    LinkedElsewhere,
}

/// Does it; to be run in a transaction.
pub(super) fn put(connection: &mut AnyConnection, user: PutUser) -> QueryResult<PutUserOutcome> {
    let PutUser {
        user_id,
        telegram_id,
        now_us,
    } = user;
    let owner: Option<i64> = match telegram_id {
        Some(wanted) => accounts::table
            .filter(accounts::telegram_id.eq(wanted.get()))
            .select(accounts::user_id)
            .get_result(connection)
            .optional()?,
        None => None,
    };
    if owner.is_some_and(|owner| owner != user_id.get()) {
        return Ok(PutUserOutcome::LinkedElsewhere);
    }
    // Diesel has no `ON CONFLICT` for both databases at once. SQLite takes `$1` for a name, and counts names as they come.
    sql_query(
        "INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES ($1, 0, $2, $2) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<BigInt, _>(user_id.get())
    .bind::<BigInt, _>(now_us)
    .execute(connection)?;
    if let (Some(wanted), None) = (telegram_id, owner) {
        diesel::update(accounts::table.find(user_id.get()))
            .set((
                accounts::telegram_id.eq(wanted.get()),
                accounts::updated_at_us.eq(now_us),
            ))
            .execute(connection)?;
    }
    let telegram_id = accounts::table
        .find(user_id.get())
        .select(accounts::telegram_id)
        .get_result(connection)?;
    Ok(PutUserOutcome::Stored { telegram_id })
}
