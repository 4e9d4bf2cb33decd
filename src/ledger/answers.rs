//! The way of answers from the writers to those who wait for them.
//!
//! Whoever waits is an actor, and to wake one from another thread costs a system call each time. So the answers of a
//! transaction cross over together, and are given out by a task beside the actors: in the order of the commits, and in slices,
//! so that others have their turn. Until there is such a task, and after it has ended, a writer gives them out itself.
//!
//! An answer keeps its place in the bounded queue of postings until it is given.

use std::sync::{Arc, OnceLock};

use log::warn;
use tokio::sync::{mpsc, oneshot};

use crate::limits::BATCH_SLICE_ENTRIES;

use super::{Orphan, Permit, Posted};

/// What is to be told to whoever sent a posting.
#[derive(Debug)]
pub(super) struct Answer {
    pub posted: Posted,
    pub reply: oneshot::Sender<Posted>,
    pub permit: Permit,
}

/// The writers' end. Cloned for each of them.
#[derive(Debug, Clone)]
pub struct Answers {
    orphans: mpsc::Sender<Orphan>,
    given_by: Arc<OnceLock<mpsc::UnboundedSender<Vec<Answer>>>>,
}

impl Answers {
    /// `orphans` gets what was committed while nobody waited for the answer.
    pub fn new(orphans: mpsc::Sender<Orphan>) -> Self {
        Self {
            orphans,
            given_by: Arc::default(),
        }
    }

    /// Gives out the answers from now on, in the thread that runs this; to be run once, and until the writers have ended.
    pub async fn give_out(self) {
        // Unbounded on purpose: each answer holds its place of `admission`, which is the bound.
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

    /// The answers of one transaction, in the order in which they are to be given.
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
                "a commit that nobody waited for could not be told; it shows with the user's next change or read"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::entry;
    use crate::ledger::{Admission, Lane};

    /// Answers to so many postings, and who waits for them.
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
    async fn a_task_gives_answers_out_and_without_one_they_are_given_at_once() {
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
        assert!(
            waiting[0].try_recv().is_err(),
            "the task has not had its turn"
        );
        let given = futures_util::future::join_all(waiting).await;
        assert!(given.iter().all(Result::is_ok));
        assert_eq!(
            unheard.recv().await.as_ref().map(event),
            Some("e1"),
            "nobody waited for it"
        );

        task.abort();
        assert!(task.await.is_err_and(|ended| ended.is_cancelled()));
        let (after, mut waiting) = some(1);
        answers.send(after);
        assert!(waiting[0].try_recv().is_ok(), "no task any more");
    }
}
