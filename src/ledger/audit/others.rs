//! What an entry says of the user's balances in other currencies: that each is the one after the newest entry in its
//! currency before it. A duplicate of the entry is answered with them.

use crate::ledger::rows::other_balances;

use super::pages::Row;
use super::{Audit, Sums};

/// The most characters of a malformed text that are shown.
const SHOWN_MAX: usize = 100;

impl Audit<'_> {
    /// After the entry's own balance was checked. A difference that stays the same is told once, and none where it may follow
    /// from another fault.
    pub(super) fn check_other_balances(&mut self, sums: &mut Sums, row: &Row) {
        if sums.is_faulty || self.by_hand.contains(&row.id) {
            return;
        }
        let Row {
            user_id: user,
            version,
            currency: own,
            other_balances: text,
            ..
        } = row;
        let said = match other_balances::parse(text.as_deref()) {
            Ok(Some(said)) => said,
            Ok(None) => return,
            Err(other_balances::Malformed) => {
                if !std::mem::replace(&mut sums.is_malformed, true) {
                    let shown: String = text
                        .iter()
                        .flat_map(|t| t.chars())
                        .take(SHOWN_MAX)
                        .collect();
                    self.violation(format!(
                        "user {user}: version {version} has malformed other balances {shown:?}"
                    ));
                }
                return;
            }
        };
        sums.is_malformed = false;
        if said.contains_key(own) {
            self.violation(format!(
                "user {user}: version {version} has its own currency {own} among the other balances"
            ));
        }
        let unknown = said.keys().filter(|code| !sums.newest.contains_key(*code));
        let codes: Vec<String> = sums.newest.keys().chain(unknown).cloned().collect();
        for code in codes.into_iter().filter(|code| code != own) {
            let minor = said.get(&code).copied().unwrap_or(0);
            let newest = sums.newest.get(&code).copied().unwrap_or(0);
            let off = i128::from(minor) - i128::from(newest);
            if off == sums.others_off.get(&code).copied().unwrap_or(0) {
                continue;
            }
            if off != 0 {
                self.violation(format!(
                    "user {user} {code}: version {version}, an entry in {own}, says {minor} minor units, \
                     the newest entry before it says {newest}"
                ));
            }
            sums.others_off.insert(code, off);
        }
    }
}
