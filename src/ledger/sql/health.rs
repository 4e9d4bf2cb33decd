//! Whether the ledger's writers can work.

use std::future::ready;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ledger::sql::SqlLedger;
use crate::ledger::writer::{Order, Writer};
use crate::ledger::{LedgerError, Pending};

impl SqlLedger {
    /// Whether every writer could write entries now. `Unavailable` when one can't, and when one has not answered after as
    /// long as a step may take.
    pub fn check_writers(&self) -> Pending<()> {
        let hangs = |writer: &Writer| {
            let age = writer.watch().age();
            age.is_some_and(|(_, age)| age >= self.hangs_after)
        };
        if self.writers.iter().any(hangs) {
            return Box::pin(ready(Err(LedgerError::Unavailable(
                "a writer hangs".into(),
            ))));
        }
        let answers: Vec<_> = self
            .writers
            .iter()
            .map(|writer| {
                let (reply, answer) = oneshot::channel();
                writer.order(Order::TryOut(reply));
                answer
            })
            .collect();
        let all = async {
            for answer in answers {
                answer
                    .await
                    .map_err(|_| LedgerError::Unavailable("a writer has ended".into()))??;
            }
            Ok(())
        };
        let bounded = tokio::time::timeout(self.hangs_after, all);
        Box::pin(async {
            let late = |_| LedgerError::Unavailable("a writer gives no answer in time".into());
            bounded.await.map_err(late)?
        })
    }

    /// A sender has waited so long in vain, from when there were so many answers on. The ledger is away when there is none
    /// since and a writer waits for one step most of that time. (Otherwise there is too much to do, or an entry can't be
    /// written.)
    pub fn waited_in_vain(&self, answers: u64, time: Duration) {
        let waits = |writer: &Writer| writer.watch().age().is_some_and(|(_, age)| age >= time / 2);
        if self.standing.answers() == answers && self.writers.iter().any(waits) {
            self.standing.unanswered();
        }
    }

    /// Sets the metrics that are levels.
    pub fn show_levels(&self) {
        let watches = self.writers.iter().map(|writer| &**writer.watch());
        self.counts.steps(watches);
    }
}
