//! The atomic batches that the ledger has not answered yet.
//!
//! A context polls every one of its futures at every message. So they are one stream, however many batches wait, and it
//! polls only those that were answered. Bounded by the ledger's queue.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _, poll_fn};
use tokio::sync::oneshot;

use crate::coordinator::messages::Known;
use crate::domain::UserId;
use crate::ledger::Posted;

/// The ledger has answered a batch.
#[derive(Debug)]
pub(super) struct AtomicAnswered {
    /// `None`: its writer died, which leaves the outcome unknown.
    pub posted: Option<Posted>,
    /// What waits for the answer.
    pub requester: oneshot::Sender<Posted>,
    /// What was known when it was sent.
    pub known: KnownBefore,
}

/// What was known of the users of a batch when it was sent to the ledger.
#[derive(Debug, Default)]
pub(super) struct KnownBefore {
    /// The number of the epoch.
    pub epoch: u64,
    /// The newest version of each user whose actor was resident.
    pub versions: HashMap<UserId, i64>,
}

impl KnownBefore {
    /// What was known of a user.
    pub(super) fn of(&self, user_id: UserId) -> Known {
        Known {
            epoch: self.epoch,
            version: self.versions.get(&user_id).copied().unwrap_or(0),
        }
    }
}

/// See the file.
#[derive(Debug, Default, Clone)]
pub(super) struct Unanswered(
    Rc<RefCell<FuturesUnordered<LocalBoxFuture<'static, AtomicAnswered>>>>,
);

impl Unanswered {
    /// One more. To be called while a message is handled: the context polls its futures afterwards, and this one for the
    /// first time.
    pub(super) fn push(
        &self,
        answer: oneshot::Receiver<Posted>,
        requester: oneshot::Sender<Posted>,
        known: KnownBefore,
    ) {
        let answered = async move {
            let posted = answer.await.ok();
            AtomicAnswered {
                posted,
                requester,
                known,
            }
        };
        self.0.borrow().push(Box::pin(answered));
    }

    /// Each answer; it never ends.
    pub(super) fn answers(&self) -> impl Stream<Item = AtomicAnswered> + use<> {
        let unanswered = self.0.clone();
        poll_fn(
            move |cx| match unanswered.borrow_mut().poll_next_unpin(cx) {
                Poll::Ready(Some(answered)) => Poll::Ready(Some(answered)),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn batches_that_wait_cost_nothing_when_something_else_happens() {
        let (unanswered, polls) = (Unanswered::default(), Rc::new(Cell::new(0)));
        for _ in 0..1000 {
            let polls = polls.clone();
            let waiting = std::future::poll_fn(move |_| {
                polls.update(|polls: usize| polls + 1);
                Poll::Pending
            });
            unanswered.0.borrow().push(Box::pin(waiting));
        }
        let (reply, answer) = oneshot::channel();
        let (requester, _answer) = oneshot::channel();
        unanswered.push(answer, requester, KnownBefore::default());
        let mut answers = Box::pin(unanswered.answers());
        let mut poll = || {
            let mut cx = Context::from_waker(Waker::noop());
            answers.poll_next_unpin(&mut cx)
        };
        // A poll may stop on its way, to let others have their turn.
        for _ in 0..1000 {
            assert!(poll().is_pending());
        }
        assert_eq!(polls.get(), 1000, "each once");
        let (entries, outcomes) = (Vec::new(), Vec::new());
        reply.send(Posted { entries, outcomes }).expect("it waits");
        let answered = poll();
        assert!(matches!(
            answered,
            Poll::Ready(Some(AtomicAnswered {
                posted: Some(_),
                ..
            }))
        ));
        assert_eq!(polls.get(), 1000, "and no other");
    }
}
