//! Hands the writers' answers to the actors that wait for them.
//!
//! Waking an actor from another thread costs a system call each time. So the answers of a transaction go to the actors'
//! thread together, and a task there hands them out in the order of the commits, in slices, so that actors run in between.
//! Before that task runs, and after it has ended, the writers hand the answers out themselves.
//!
//! An answer keeps its place in the bounded queue of postings until it is handed out.

use std::sync::{Arc, OnceLock};

use log::warn;
use tokio::sync::{mpsc, oneshot};

use crate::limits::BATCH_SLICE_ENTRIES;

use super::{Orphan, Permit, Posted};

/// The answer to a posting.
#[derive(Debug)]
pub(super) struct Answer {
    pub posted: Posted,
    pub reply: oneshot::Sender<Posted>,
    pub permit: Permit,
}

/// Where writers send answers; each has a clone.
#[derive(Debug, Clone)]
pub struct Answers {
    orphans: mpsc::Sender<Orphan>,
    given_by: Arc<OnceLock<mpsc::UnboundedSender<Vec<Answer>>>>,
}

impl Answers {
    /// `orphans` gets the answers whose receivers are gone.
    pub fn new(orphans: mpsc::Sender<Orphan>) -> Self {
        Self {
            orphans,
            given_by: Arc::default(),
        }
    }

    /// Hands out the answers from now on, on the thread that runs this. To be run once, until the writers have ended.
    pub async fn give_out(self) {
        // Unbounded on purpose: each answer holds a permit of `admission`, which is the bound.
        let (given, mut all) = mpsc::unbounded_channel();
        if self.given_by.set(given).is_err() {
            return;
        }
        while let Some(answers) = all.recv().await {
            let mut answers = answers.into_iter();
            while answers.len() > 0 {
                answers
                    .by_ref()
                    .take(BATCH_SLICE_ENTRIES)
                    .for_each(|answer| self.give(answer));
                tokio::task::yield_now().await;
            }
        }
    }

    /// The answers of one transaction, in the order in which they are to be handed out.
    pub(super) fn send(&self, answers: Vec<Answer>) {
        let unsent = match self.given_by.get() {
            Some(given) => given.send(answers).err().map(|unsent| unsent.0),
            None => Some(answers),
        };
        unsent
            .into_iter()
            .flatten()
            .for_each(|answer| self.give(answer));
    }

    fn give(
        &self,
        Answer {
            posted,
            reply,
            permit,
        }: Answer,
    ) {
        drop(permit);
        if let Err(unheard) = reply.send(posted)
            && self.orphans.try_send(unheard).is_err()
        {
            warn!(
                "sessions could not be told of a commit whose receiver was gone; it shows with the user's next change or read"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::entry;
    use crate::ledger::{Admission, Lane};

    /// Answers to so many postings, and their receivers.
    fn some(count: usize) -> (Vec<Answer>, Vec<oneshot::Receiver<Posted>>) {
        let admission = Admission::new(count);
        let one = |number| {
            let (reply, waiting) = oneshot::channel();
            let posted = Posted {
                entries: vec![entry(1, &format!("e{number}"), 5)],
                outcomes: Vec::new(),
            };
            let permit = admission.try_acquire(Lane::Bulk, 1).expect("room");
            (
                Answer {
                    posted,
                    reply,
                    permit,
                },
                waiting,
            )
        };
        (0..count).map(one).unzip()
    }

    fn event(posted: &Posted) -> &str {
        posted.entries[0].event_id.as_str()
    }

    #[tokio::test]
    async fn a_task_hands_answers_out_and_without_one_they_are_handed_out_at_once() {
        let (orphans, mut unheard) = mpsc::channel(4);
        let answers = Answers::new(orphans);
        let (before, mut waiting) = some(1);
        answers.send(before);
        assert_eq!(
            waiting[0]
                .try_recv()
                .map(|posted| event(&posted).to_owned())
                .as_deref(),
            Ok("e0"),
            "no task yet"
        );

        let task = tokio::spawn(answers.clone().give_out());
        tokio::task::yield_now().await;
        let (many, mut waiting) = some(3 * BATCH_SLICE_ENTRIES);
        drop(waiting.remove(1));
        answers.send(many);
        assert!(waiting[0].try_recv().is_err(), "the task has not run yet");
        let given = futures_util::future::join_all(waiting).await;
        assert!(given.iter().all(Result::is_ok));
        assert_eq!(
            unheard.recv().await.as_ref().map(event),
            Some("e1"),
            "its receiver was gone"
        );

        task.abort();
        assert!(task.await.is_err_and(|ended| ended.is_cancelled()));
        let (after, mut waiting) = some(1);
        answers.send(after);
        assert!(waiting[0].try_recv().is_ok(), "the task has ended");
    }
}
