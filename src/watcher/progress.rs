//! The bar of `watch --once`: how much of the time from the first transaction until now is handled.

use std::cell::RefCell;
use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps of the bar for each account.
const STEPS: u64 = 1_000;

/// Shows how far all accounts are.
pub struct Progress {
    bar: ProgressBar,
    now_s: i64,
    /// For each account: when its first transaction of this run happened, and the steps that are done.
    accounts: RefCell<BTreeMap<String, (i64, u64)>>,
}

impl Progress {
    /// A bar for so many accounts on standard error; a hidden one takes the calls and shows nothing.
    pub fn new(accounts: usize, is_shown: bool, now_s: i64) -> Self {
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let steps = STEPS * u64::try_from(accounts).unwrap_or(1);
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = ProgressStyle::with_template("{bar:40} {percent}% {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            now_s,
            accounts: RefCell::default(),
        }
    }

    /// An account is handled up to this time.
    pub fn reach(&self, account: &str, at_s: i64) {
        let share = |first_s: i64| {
            let all_s = self.now_s.saturating_sub(first_s).max(1).unsigned_abs();
            let done_s = u64::try_from(at_s.saturating_sub(first_s)).unwrap_or(0);
            STEPS.saturating_mul(done_s) / all_s
        };
        let first_s = self.first_s(account, at_s);
        self.set(account, (first_s, share(first_s).min(STEPS)));
    }

    /// An account is up to date.
    pub fn finish(&self, account: &str) {
        self.set(account, (self.first_s(account, self.now_s), STEPS));
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn first_s(&self, account: &str, otherwise_s: i64) -> i64 {
        let accounts = self.accounts.borrow();
        accounts.get(account).map_or(otherwise_s, |one| one.0)
    }

    fn set(&self, account: &str, state: (i64, u64)) {
        self.accounts.borrow_mut().insert(account.to_owned(), state);
        let done: u64 = self.accounts.borrow().values().map(|one| one.1).sum();
        self.bar.set_position(done);
        self.bar.set_message(account.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_when_all_accounts_are_up_to_date() {
        let progress = Progress::new(2, false, 1_000);
        progress.reach("a", 0);
        assert_eq!(progress.bar.position(), 0);
        progress.reach("a", 500);
        assert_eq!(progress.bar.position(), 500);
        progress.reach("a", 5_000);
        assert_eq!(progress.bar.position(), 1_000);
        progress.finish("b");
        progress.finish("a");
        assert_eq!(progress.bar.position(), 2_000);
    }
}
