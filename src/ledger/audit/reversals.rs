//! Reversals: each takes back a part of an earlier entry of its user, in its currency and with the other sign, and says how
//! much it leaves. All of an entry together take back no more than it has: what one leaves is what the one before it left,
//! or the entry has, without what it takes; and no two leave the same.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::ledger::connection::AnyConnection;

use super::Audit;
use super::pages::Row;

/// A reversal beside the entry that it takes back, if that is there.
#[derive(Debug, QueryableByName)]
struct Reversal {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = Text)]
    reverses: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    left_after: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    of_user: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    of_version: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    of_kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    of_currency: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    of_amount: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    left_before: Option<i64>,
    #[diesel(sql_type = BigInt)]
    same: i64,
}

/// Each row is found by an index. `{t}` stands for what finds the entry of an event id.
const FIND: &str = "SELECT r.version, r.currency, r.amount, r.reverses, r.left_after, t.user_id AS of_user, \
     t.version AS of_version, t.kind AS of_kind, t.currency AS of_currency, t.amount AS of_amount, \
     (SELECT MIN(p.left_after) FROM entries AS p WHERE p.reverses = r.reverses AND p.left_after > r.left_after) AS left_before, \
     (SELECT COUNT(*) FROM entries AS p WHERE p.reverses = r.reverses AND p.left_after = r.left_after) AS same \
     FROM entries AS r LEFT JOIN entries AS t ON {t} t.event_id = r.reverses \
     WHERE r.user_id = $1 AND r.version >= $2 AND r.version <= $3 AND r.reverses IS NOT NULL ORDER BY r.version";

impl Audit<'_> {
    /// Checks the reversals among a page of entries. Without one it reads nothing.
    pub(super) fn check_reversals(
        &mut self,
        connection: &mut AnyConnection,
        page: &[Row],
    ) -> QueryResult<()> {
        let by_event = match connection {
            AnyConnection::Postgres(_) => "",
            // A row that was written by hand may have no digest yet.
            AnyConnection::Sqlite(_) => {
                "(t.event_digest = event_digest(r.reverses) OR t.event_digest IS NULL) AND"
            }
        };
        for of_user in page.chunk_by(|one, next| one.user_id == next.user_id) {
            let user = of_user[0].user_id;
            let mut versions = None;
            for row in of_user {
                let is_reversal = row.kind == "reversal";
                match (is_reversal, row.reverses.is_some()) {
                    (true, false) => self.violation(format!(
                        "user {user}: version {} is a reversal of nothing",
                        row.version
                    )),
                    (false, true) => self.violation(format!(
                        "user {user}: version {} reverses an entry, but is a {}",
                        row.version, row.kind
                    )),
                    (true, true) => {
                        let (first, _) = *versions.get_or_insert((row.version, row.version));
                        versions = Some((first, row.version));
                    }
                    (false, false) => {}
                }
            }
            let Some((first, last)) = versions else {
                continue;
            };
            let found: Vec<Reversal> = sql_query(FIND.replace("{t}", by_event))
                .bind::<BigInt, _>(user)
                .bind::<BigInt, _>(first)
                .bind::<BigInt, _>(last)
                .load(connection)?;
            for reversal in found {
                if let Some(fault) = reversal.fault(user) {
                    let Reversal {
                        version, reverses, ..
                    } = reversal;
                    self.violation(format!(
                        "user {user}: version {version} reverses {reverses}, {fault}"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Reversal {
    /// What is wrong with it.
    fn fault(&self, user: i64) -> Option<String> {
        let (Some(of_user), Some(of_version), Some(of_amount)) =
            (self.of_user, self.of_version, self.of_amount)
        else {
            return Some("which is not there".into());
        };
        if of_user != user {
            return Some(format!("an entry of user {of_user}"));
        }
        if of_version >= self.version {
            return Some(format!("a later entry of version {of_version}"));
        }
        if self.of_kind.as_deref() == Some("reversal") {
            return Some("which is a reversal".into());
        }
        if self.of_currency.as_deref() != Some(&*self.currency) {
            return Some("an entry of another currency".into());
        }
        if (self.amount > 0) == (of_amount > 0) {
            return Some("an entry of the same sign".into());
        }
        let size = |minor: i64| i128::from(minor).abs();
        let before = self.left_before.map_or(size(of_amount), i128::from);
        let (taken, left) = (size(self.amount), self.left_after.map(i128::from));
        let is_right = self.same == 1 && left == Some(before - taken) && taken <= before;
        let said = left.map_or("nothing".into(), |left| left.to_string());
        (!is_right).then(|| {
            format!("and says that {said} minor units are left, but takes {taken} of {before}")
        })
    }
}
