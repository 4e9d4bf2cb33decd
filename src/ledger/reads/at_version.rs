//! The balances as they were after one of a user's entries: its row has them all, and is found by user and version.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::domain::{Amount, Balances, Currencies, UserId};
use crate::ledger::LedgerError;
use crate::ledger::connection::AnyConnection;
use crate::ledger::rows::{currency, other_balances};
use crate::ledger::schema::entries;

use super::Read;

/// The newest balance of each currency at or before a version, looked for through the user's history.
const IN_THE_HISTORY: &str = "SELECT currencies.code, (SELECT balance_after FROM entries WHERE user_id = $1 \
     AND currency = currencies.code AND version <= $2 ORDER BY version DESC LIMIT 1) AS minor FROM currencies";

/// Entries never change, so no snapshot is needed.
pub(in crate::ledger) fn balances_at(
    connection: &mut AnyConnection,
    user: UserId,
    version: i64,
    currencies: &Currencies,
) -> Read<Balances> {
    let found: Option<(String, i64, Option<String>)> = entries::table
        .filter(entries::user_id.eq(user.get()))
        .filter(entries::version.eq(version))
        .select((
            entries::currency,
            entries::balance_after,
            entries::other_balances,
        ))
        .get_result(connection)
        .optional()?;
    let Some((own, after, others)) = found else {
        // It was read before, perhaps from a server that has more than this one.
        let what = format!("user {user} has no version {version}");
        return Err(LedgerError::Unavailable(what).into());
    };
    let mut all = Balances::zero(currencies.count());
    match other_balances::parse(others.as_deref()) {
        Ok(Some(others)) => {
            for (code, minor) in others {
                all.set(currency(currencies, &code)?, Amount::from_minor(minor));
            }
            all.set(currency(currencies, &own)?, Amount::from_minor(after));
        }
        Ok(None) => {
            for Found { code, minor } in in_the_history(connection, user, version)? {
                // Another process may know a currency that this one does not; the user has no entry in it.
                if let Some(minor) = minor {
                    all.set(currency(currencies, &code)?, Amount::from_minor(minor));
                }
            }
        }
        Err(other_balances::Malformed) => {
            let what = format!("version {version} of user {user} has malformed other balances");
            return Err(LedgerError::Unfit(what).into());
        }
    }
    Ok(all)
}

#[derive(Debug, QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    minor: Option<i64>,
}

fn in_the_history(
    connection: &mut AnyConnection,
    user: UserId,
    version: i64,
) -> QueryResult<Vec<Found>> {
    sql_query(IN_THE_HISTORY)
        .bind::<BigInt, _>(user.get())
        .bind::<BigInt, _>(version)
        .load(connection)
}
