//! The way of answers from the writers to those who wait for them.
//!
//! Whoever waits is an actor, and to wake one from another thread costs a system call each time. So the answers of a
//! transaction cross over together, and are given out by a task beside the actors: those to batches in slices, so that
//! others have their turn. Until there is such a task, and after it has ended, a writer gives them out itself.
//!
//! An answer keeps its place in the bounded queue of postings until it is given.

use std::sync::{Arc, OnceLock};

use log::warn;
use tokio::sync::{mpsc, oneshot};

use crate::limits::BATCH_SLICE_ENTRIES;

use super::{Lane, Orphan, Permit, Posted};

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
    given_by: Arc<OnceLock<[mpsc::UnboundedSender<Vec<Answer>>; 2]>>,
}

impl Answers {
    /// `orphans` gets what was committed while nobody waited for the answer.
    pub fn new(orphans: mpsc::Sender<Orphan>) -> Self {
        Self { orphans, given_by: Arc::default() }
    }

    /// Gives out the answers from now on, in the thread that runs this; to be run once, and until the writers have ended.
    pub async fn give_out(self) {
        // Unbounded on purpose: each answer holds its place of `admission`, which is the bound.
        let (single, singles) = mpsc::unbounded_channel();
        let (bulk, bulks) = mpsc::unbounded_channel();
        if self.given_by.set([single, bulk]).is_ok() {
            tokio::join!(self.give_slices(singles), self.give_slices(bulks));
        }
    }

    async fn give_slices(&self, mut from: mpsc::UnboundedReceiver<Vec<Answer>>) {
        while let Some(answers) = from.recv().await {
            let mut answers = answers.into_iter();
            while answers.len() > 0 {
                answers.by_ref().take(BATCH_SLICE_ENTRIES).for_each(|answer| self.give(answer));
                tokio::task::yield_now().await;
            }
        }
    }

    /// The answers of one transaction to postings of this lane.
    pub(super) fn send(&self, lane: Lane, answers: Vec<Answer>) {
        if answers.is_empty() {
            return;
        }
        let unsent = match self.given_by.get() {
            Some([single, bulk]) => {
                let to = if lane == Lane::Single { single } else { bulk };
                to.send(answers).err().map(|unsent| unsent.0)
            }
            None => Some(answers),
        };
        unsent.into_iter().flatten().for_each(|answer| self.give(answer));
    }

    fn give(&self, Answer { posted, reply, permit }: Answer) {
        drop(permit);
        if let Err(unheard) = reply.send(posted)
            && self.orphans.try_send(unheard).is_err()
        {
            warn!("a commit that nobody waited for could not be told; it shows with the user's next change or read");
        }
    }
}
