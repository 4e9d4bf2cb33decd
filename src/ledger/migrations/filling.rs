//! Fills in what entries of earlier versions lack: the user's balances in other currencies (`entries.other_balances`). Only
//! users with several currencies have any.
//!
//! In pages, in the order of users and versions; a page of many users, or a part of one. On SQLite each page is a
//! transaction that also notes how far it has come, so an interrupted filling goes on there. On PostgreSQL all of it is in
//! the migrations' transaction. The index on user, currency and version finds each balance; it goes with the next
//! migration.

use std::collections::VecDeque;

use diesel::connection::SimpleConnection;
use diesel::dsl::max;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;

use super::progress::Progress;
use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::{entries, filling};
use crate::limits::FILLED_ENTRIES_MAX;

/// The most users that are looked up at once.
const USERS_MAX: i64 = 1000;

/// As a version: all of the user's entries are filled in.
const WHOLE: i64 = i64::MAX;

/// Users with several currencies and the number of their entries, read from the index on user, currency and version alone.
const USERS: &str = "SELECT user_id, COUNT(*) AS entries FROM entries WHERE user_id > $1 GROUP BY user_id \
     HAVING MIN(currency) <> MAX(currency) ORDER BY user_id LIMIT $2";

const TOTAL: &str = "SELECT CAST(COALESCE(SUM(entries), 0) AS BIGINT) AS number FROM \
     (SELECT COUNT(*) AS entries FROM entries GROUP BY user_id HAVING MIN(currency) <> MAX(currency)) AS users";

/// The same of one user between two versions.
const OF_A_PART: &str =
    "SELECT COUNT(*) AS number FROM entries WHERE user_id = $1 AND version > $2 AND version <= $3";

/// PostgreSQL's planner takes the right index only when asked for its order.
const ON_POSTGRES: &str = "SELECT '{' || string_agg('\"' || code || '\":' || minor, ',' ORDER BY code COLLATE \"C\") || '}' \
     FROM currencies CROSS JOIN LATERAL (SELECT balance_after AS minor FROM entries AS past WHERE past.user_id = entry.user_id \
     AND (past.currency, past.version) <= (code, entry.version) AND past.currency >= code \
     ORDER BY past.currency DESC, past.version DESC LIMIT 1) AS newest \
     WHERE code <> entry.currency AND minor <> 0";

const ON_SQLITE: &str = "SELECT '{' || group_concat('\"' || code || '\":' || minor, ',' ORDER BY code) || '}' \
     FROM (SELECT code, (SELECT balance_after FROM entries AS past WHERE past.user_id = entry.user_id \
     AND past.currency = code AND past.version <= entry.version ORDER BY past.version DESC LIMIT 1) AS minor \
     FROM currencies WHERE code <> entry.currency) WHERE minor <> 0";

/// Only for this transaction: users come in the order of an index, page by page. To count them may take as long as it takes:
/// another try would take as long.
const IN_ORDER: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashagg = off; \
     SET LOCAL enable_sort = off; SET LOCAL jit = off; SET LOCAL statement_timeout = 0";

/// Everything up to this version of this user is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = filling)]
struct Reached {
    user_id: i64,
    version: i64,
    filled: i64,
    total: i64,
    last_entry: i64,
}

/// What one statement fills in.
#[derive(Debug)]
struct Page {
    /// Which entries, in SQL.
    condition: String,
    reached: Reached,
}

#[derive(Debug)]
struct Filling {
    page_entries: i64,
    /// The users after the one that was reached.
    ahead: VecDeque<User>,
    reached: Reached,
}

#[derive(Debug, QueryableByName)]
struct User {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = BigInt)]
    entries: i64,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Fills in all that is left.
pub(super) fn run(connection: &mut AnyConnection, progress: &Progress) -> QueryResult<()> {
    if let AnyConnection::Postgres(postgres) = connection {
        postgres.batch_execute(IN_ORDER)?;
    }
    let mut filling = Filling::begin(connection, FILLED_ENTRIES_MAX)?;
    loop {
        let Reached { filled, total, .. } = filling.reached;
        progress.filled(filled, total);
        if !filling.step(connection)? {
            return Ok(());
        }
    }
}

impl Filling {
    /// Goes on where the last one was, unless entries were written since.
    fn begin(connection: &mut AnyConnection, page_entries: i64) -> QueryResult<Self> {
        let last_entry: Option<i64> = entries::table
            .select(max(entries::id))
            .get_result(connection)?;
        let noted: Option<Reached> = match connection {
            AnyConnection::Postgres(_) => None,
            AnyConnection::Sqlite(sqlite) => filling::table
                .select((
                    filling::user_id,
                    filling::version,
                    filling::filled,
                    filling::total,
                    filling::last_entry,
                ))
                .get_result(sqlite)
                .optional()?,
        };
        let last_entry = last_entry.unwrap_or(0);
        let reached = match noted.filter(|noted| noted.last_entry == last_entry) {
            Some(noted) => noted,
            None => Reached {
                user_id: i64::MIN,
                version: WHOLE,
                filled: 0,
                total: number(sql_query(TOTAL).get_result(connection)?),
                last_entry,
            },
        };
        Ok(Self {
            page_entries,
            ahead: VecDeque::new(),
            reached,
        })
    }

    /// Fills in one page. `false` when nothing was left.
    fn step(&mut self, connection: &mut AnyConnection) -> QueryResult<bool> {
        let Some(page) = self.next_page(connection)? else {
            return Ok(false);
        };
        connection.transaction(|connection| page.fill(connection))?;
        self.reached = page.reached;
        Ok(true)
    }

    fn next_page(&mut self, connection: &mut AnyConnection) -> QueryResult<Option<Page>> {
        let Reached {
            user_id, version, ..
        } = self.reached;
        if version != WHOLE {
            return self.part(connection, user_id, version).map(Some);
        }
        if self.ahead.is_empty() {
            let users: Vec<User> = sql_query(USERS)
                .bind::<BigInt, _>(user_id)
                .bind::<BigInt, _>(USERS_MAX)
                .load(connection)?;
            self.ahead = users.into();
        }
        let mut users = Vec::new();
        let mut count = 0;
        while let Some(user) = self
            .ahead
            .pop_front_if(|u| count + u.entries <= self.page_entries)
        {
            users.push(user.user_id);
            count += user.entries;
        }
        let Some(last) = users.last() else {
            // The next one has more entries than a page.
            let user = self.ahead.pop_front();
            let part = user.map(|user| self.part(connection, user.user_id, i64::MIN));
            return part.transpose();
        };
        let reached = self.reached.at(*last, WHOLE, count);
        let users: Vec<String> = users.iter().map(i64::to_string).collect();
        let condition = format!("user_id IN ({})", users.join(", "));
        Ok(Some(Page { condition, reached }))
    }

    /// The next page of one user with many entries.
    fn part(&self, connection: &mut AnyConnection, user: i64, after: i64) -> QueryResult<Page> {
        let last: Option<i64> = entries::table
            .filter(entries::user_id.eq(user).and(entries::version.gt(after)))
            .order(entries::version)
            .limit(1)
            .offset(self.page_entries - 1)
            .select(entries::version)
            .get_result(connection)
            .optional()?;
        let to = last.unwrap_or(WHOLE);
        let count = sql_query(OF_A_PART)
            .bind::<BigInt, _>(user)
            .bind::<BigInt, _>(after)
            .bind::<BigInt, _>(to);
        let reached = self
            .reached
            .at(user, to, number(count.get_result(connection)?));
        let condition = format!("user_id = {user} AND version > {after} AND version <= {to}");
        Ok(Page { condition, reached })
    }
}

impl Reached {
    fn at(self, user_id: i64, version: i64, more: i64) -> Self {
        Self {
            user_id,
            version,
            filled: self.filled.saturating_add(more),
            ..self
        }
    }
}

impl Page {
    fn fill(&self, connection: &mut AnyConnection) -> QueryResult<()> {
        let others = match connection {
            AnyConnection::Postgres(_) => ON_POSTGRES,
            AnyConnection::Sqlite(_) => ON_SQLITE,
        };
        let condition = &self.condition;
        connection.batch_execute(&format!(
            "WITH found AS MATERIALIZED (SELECT id, ({others}) AS others FROM entries AS entry WHERE {condition}) \
             UPDATE entries SET other_balances = others FROM found WHERE entries.id = found.id AND others IS NOT NULL"
        ))?;
        if let AnyConnection::Sqlite(sqlite) = connection {
            diesel::replace_into(filling::table)
                .values((filling::id.eq(1), self.reached))
                .execute(sqlite)?;
        }
        Ok(())
    }
}

fn number(found: Number) -> i64 {
    found.number
}

#[cfg(test)]
mod tests;
