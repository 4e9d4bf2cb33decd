//! What the audit reads: entries, page by page, and what the other tables claim of their users.

use std::collections::BTreeMap;

use diesel::prelude::*;

use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::{accounts, balances, entries};
use crate::limits::AUDIT_PAGE_ENTRIES;

/// An entry, as far as it is checked.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = entries)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) user_id: i64,
    pub(super) version: i64,
    pub(super) currency: String,
    pub(super) amount: i64,
    pub(super) balance_after: i64,
    pub(super) other_balances: Option<String>,
    pub(super) kind: String,
    pub(super) reverses: Option<String>,
}

/// What the tables claim of the users between two ids.
pub(super) struct Claims {
    pub(super) versions: BTreeMap<i64, i64>,
    pub(super) balances: BTreeMap<i64, BTreeMap<String, i64>>,
    /// Rows that are there more than once, in words.
    pub(super) repeats: Vec<String>,
}

/// The next entries in the order of users and versions. Two statements, so that each finds its rows by an index: of a
/// user with a long history no page reads what the pages before it have read.
pub(super) fn next_page(
    connection: &mut AnyConnection,
    (user, version, id): (i64, i64, i64),
) -> QueryResult<Vec<Row>> {
    let mut page = next_page_of(connection, user, (version, id))?;
    let left = AUDIT_PAGE_ENTRIES - page.len() as i64;
    if left > 0 {
        let of_others: Vec<Row> = entries::table
            .filter(entries::user_id.gt(user))
            .order((entries::user_id, entries::version, entries::id))
            .limit(left)
            .select(Row::as_select())
            .load(connection)?;
        page.extend(of_others);
    }
    Ok(page)
}

/// The same of one user. The id tells entries apart that share a version.
pub(super) fn next_page_of(
    connection: &mut AnyConnection,
    user: i64,
    (version, id): (i64, i64),
) -> QueryResult<Vec<Row>> {
    entries::table
        .filter(entries::user_id.eq(user))
        .filter(entries::version.ge(version))
        .filter(entries::version.gt(version).or(entries::id.gt(id)))
        .order((entries::version, entries::id))
        .limit(AUDIT_PAGE_ENTRIES)
        .select(Row::as_select())
        .load(connection)
}

impl Claims {
    /// The users above `after` up to `to`.
    pub(super) fn load(connection: &mut AnyConnection, after: i64, to: i64) -> QueryResult<Self> {
        let versions: Vec<(i64, i64)> = accounts::table
            .filter(accounts::user_id.gt(after).and(accounts::user_id.le(to)))
            .select((accounts::user_id, accounts::version))
            .load(connection)?;
        let rows: Vec<(i64, String, i64)> = balances::table
            .filter(balances::user_id.gt(after).and(balances::user_id.le(to)))
            .select((balances::user_id, balances::currency, balances::amount))
            .load(connection)?;
        let mut claims = Self {
            versions: BTreeMap::new(),
            balances: BTreeMap::new(),
            repeats: Vec::new(),
        };
        for (user, version) in versions {
            if claims.versions.insert(user, version).is_some() {
                let line = format!("user {user}: its account is there more than once");
                claims.repeats.push(line);
            }
        }
        for (user, currency, amount) in rows {
            let of_user = claims.balances.entry(user).or_default();
            if of_user.insert(currency.clone(), amount).is_some() {
                let line = format!("user {user} {currency}: its balance is there more than once");
                claims.repeats.push(line);
            }
        }
        Ok(claims)
    }
}
