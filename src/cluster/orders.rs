//! Orders of administrators that go to all nodes: from the asking handler to the bus, and back with the answers.
//!
//! Nothing here is certain: a node that has not answered in 0.9 s may have carried the order out, may still do so when it
//! goes on, or may not have heard of it. It is named as not heard of. A node that is silent on the bus is told, too, and
//! not waited for. An order that comes twice is carried out once. Everything is bounded; what does not fit counts as not
//! heard of, too.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::cluster::carrying::DESCRIBES_MS;
use crate::cluster::tracker::NODES_MAX;
use crate::cluster::wire::{Action, Boot};
use crate::domain::UserId;

/// How long the other nodes may take to answer, in milliseconds.
const ORDER_ANSWER_MS: u64 = 900;

/// How long a node may take to carry out another's order, in milliseconds; its answer has to come back.
pub(super) const CARRIED_MS: u64 = 800;

const _: () = assert!(DESCRIBES_MS < CARRIED_MS && CARRIED_MS < ORDER_ANSWER_MS);

/// Orders of this node that may wait for the bus.
const QUEUE_MAX: usize = 256;

/// Orders of this node that wait for answers.
const WAITING_MAX: usize = 256;

/// Answers of this node that may wait for the bus.
const ANSWERS_MAX: usize = 256;

/// The latest orders of others that are remembered, so that none is carried out twice.
const RECENT_MAX: usize = 1024;

/// A node, as answers name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NodeName {
    /// `cluster.node`
    pub node: String,
    /// Which start of it.
    pub boot: String,
}

/// A node that an order goes to.
#[derive(Debug, Clone)]
pub struct Known {
    /// Which one.
    pub name: NodeName,
    /// Its answer is waited for. One that is silent, or has no bus, is named as not heard of at once, unless it answers
    /// while others are waited for.
    pub is_awaited: bool,
}

/// What a node has answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeAnswer {
    /// Which node.
    #[serde(flatten)]
    pub name: NodeName,
    /// By the action.
    #[serde(flatten)]
    pub answer: Map<String, Value>,
}

/// What the other nodes have answered.
#[derive(Debug, Default)]
pub struct Others {
    /// Those that have, in the order of their boots.
    pub answered: Vec<NodeAnswer>,
    /// Those that are known of and have not.
    pub not_heard_of: Vec<NodeName>,
}

/// Takes orders to the bus; for any thread.
#[derive(Debug, Clone)]
pub struct Orders(mpsc::Sender<Wanted>);

/// An order that goes out.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) action: Action,
    pub(super) user_id: UserId,
    answers: mpsc::Sender<NodeAnswer>,
}

/// An answer that goes out.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) to: Boot,
    pub(super) number: u64,
    pub(super) answer: Map<String, Value>,
}

/// Something for the bus.
#[derive(Debug)]
pub(super) enum Outward {
    Ask(Wanted),
    Answer(Done),
}

/// Where this node's answer to an order goes. Dropped without an answer, this node is not heard of.
#[derive(Debug)]
pub struct Reply {
    to: Boot,
    number: u64,
    done: mpsc::Sender<Done>,
}

/// The end of the orders at the bus: what goes out, what is waited for, and what has been carried out.
#[derive(Debug)]
pub struct Desk {
    wanted: mpsc::Receiver<Wanted>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    waiting: BTreeMap<u64, mpsc::Sender<NodeAnswer>>,
    number: u64,
    recent: VecDeque<(Boot, u64)>,
}

impl Reply {
    /// Tells the node that has asked.
    pub fn answer(self, answer: Map<String, Value>) {
        let Self { to, number, done } = self;
        // Full: the other node names this one as not heard of.
        let _ = done.try_send(Done { to, number, answer });
    }
}

impl Orders {
    /// Both ends.
    pub fn new() -> (Self, Desk) {
        let (sender, wanted) = mpsc::channel(QUEUE_MAX);
        let desk = Desk {
            wanted,
            done: mpsc::channel(ANSWERS_MAX),
            waiting: BTreeMap::new(),
            number: 0,
            recent: VecDeque::new(),
        };
        (Self(sender), desk)
    }

    /// Has the other nodes carry out an order; `known` are those that are told of in the answer.
    pub async fn ask(
        &self,
        action: Action,
        user_id: UserId,
        known: Vec<Known>,
        clock: Clock,
    ) -> Others {
        let deadline = clock.deadline(Duration::from_millis(ORDER_ANSWER_MS));
        let (answers, mut incoming) = mpsc::channel(NODES_MAX);
        let wanted = Wanted {
            action,
            user_id,
            answers,
        };
        let mut answered = BTreeMap::new();
        let is_missing = |answered: &BTreeMap<String, NodeAnswer>| {
            let mut awaited = known.iter().filter(|node| node.is_awaited);
            awaited.any(|node| !answered.contains_key(&node.name.boot))
        };
        if self.0.try_send(wanted).is_ok() {
            while is_missing(&answered)
                && let Ok(Some(answer)) =
                    tokio::time::timeout_at(deadline.instant(), incoming.recv()).await
            {
                answered.entry(answer.name.boot.clone()).or_insert(answer);
            }
        }
        let names = known.into_iter().map(|node| node.name);
        Others {
            not_heard_of: names
                .filter(|name| !answered.contains_key(&name.boot))
                .collect(),
            answered: answered.into_values().collect(),
        }
    }
}

impl Desk {
    /// The next for the bus; `None` for ever when nothing can come any more. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Outward> {
        tokio::select! {
            biased;
            Some(wanted) = self.wanted.recv() => Some(Outward::Ask(wanted)),
            Some(done) = self.done.1.recv() => Some(Outward::Answer(done)),
            else => None,
        }
    }

    /// The number of the next order.
    pub(super) const fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// The order has been sent. When too many wait, its asker is told at once that no answer comes.
    pub(super) fn sent(&mut self, number: u64, wanted: Wanted) {
        self.waiting.retain(|_, answers| !answers.is_closed());
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(number, wanted.answers);
        }
    }

    /// A node has answered an order of this node. One that comes too late, or twice, is ignored.
    pub(super) fn answered(&mut self, number: u64, answer: NodeAnswer) {
        if let Some(answers) = self.waiting.get(&number) {
            // Full or closed: the asker goes on without it.
            let _ = answers.try_send(answer);
        }
    }

    /// Another node has given an order. `None`: it has been carried out already.
    pub(super) fn asked(&mut self, by: &Boot, number: u64) -> Option<Reply> {
        let is_known = |(boot, known): &(Boot, u64)| boot == by && *known == number;
        if self.recent.iter().any(is_known) {
            return None;
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((by.clone(), number));
        Some(Reply {
            to: by.clone(),
            number,
            done: self.done.0.clone(),
        })
    }
}

/// The name of a node that was heard.
pub(super) fn named(node: &Arc<str>, boot: &Boot) -> NodeName {
    NodeName {
        node: node.to_string(),
        boot: boot.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(text: &str) -> Boot {
        Boot::parse(text).expect("a boot id")
    }

    fn name(text: &str) -> NodeName {
        named(&text.into(), &boot(text))
    }

    fn known(text: &str, is_awaited: bool) -> Known {
        Known {
            name: name(text),
            is_awaited,
        }
    }

    fn answer(text: &str) -> NodeAnswer {
        NodeAnswer {
            name: name(text),
            answer: Map::new(),
        }
    }

    fn user() -> UserId {
        UserId::new(184).expect("a user id")
    }

    async fn wanted(desk: &mut Desk) -> Wanted {
        match desk.next().await {
            Some(Outward::Ask(wanted)) => wanted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_order_is_carried_out_once_however_often_it_comes() {
        let (_orders, mut desk) = Orders::new();
        for number in 1..=3 {
            assert!(desk.asked(&boot("b"), number).is_some());
            assert!(desk.asked(&boot("c"), number).is_some());
        }
        assert!(desk.asked(&boot("b"), 2).is_none());
        for number in 0..2 * RECENT_MAX as u64 {
            let _ = desk.asked(&boot("d"), number);
        }
        assert_eq!(desk.recent.len(), RECENT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_known_nodes_and_names_those_that_are_silent() {
        let (orders, mut desk) = Orders::new();
        let known = vec![known("b", true), known("c", true)];
        let asking = orders.ask(Action::Push, user(), known.clone(), Clock::system());
        let answering = async {
            let wanted = wanted(&mut desk).await;
            let number = desk.number();
            desk.sent(number, wanted);
            desk.answered(number + 1, answer("c"));
            desk.answered(number, answer("b"));
            desk.answered(number, answer("b"));
            desk.answered(number, answer("d"));
        };
        let (others, ()) = tokio::join!(asking, answering);
        assert_eq!(others.answered, [answer("b"), answer("d")]);
        assert_eq!(others.not_heard_of, [name("c")]);
        let asking = orders.ask(Action::Push, user(), known, Clock::system());
        let refusing = async { drop(wanted(&mut desk).await) };
        let (others, ()) = tokio::join!(asking, refusing);
        assert!(others.answered.is_empty());
        assert_eq!(others.not_heard_of, [name("b"), name("c")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_told_and_named_and_not_waited_for() {
        let (orders, mut desk) = Orders::new();
        let start = tokio::time::Instant::now();
        let all = vec![known("b", true), known("c", false), known("d", false)];
        let asking = orders.ask(Action::Inspect, user(), all, Clock::system());
        let answering = async {
            let wanted = wanted(&mut desk).await;
            let number = desk.number();
            desk.sent(number, wanted);
            // It was not silent after all.
            desk.answered(number, answer("d"));
            desk.answered(number, answer("b"));
        };
        let (others, ()) = tokio::join!(asking, answering);
        assert_eq!(others.answered, [answer("b"), answer("d")]);
        assert_eq!(others.not_heard_of, [name("c")]);
        let alone = vec![known("c", false)];
        let others = orders
            .ask(Action::Inspect, user(), alone, Clock::system())
            .await;
        assert_eq!(others.not_heard_of, [name("c")]);
        assert_eq!(
            wanted(&mut desk).await.action,
            Action::Inspect,
            "it is told"
        );
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn orders_without_a_taker_and_askers_that_have_gone_are_bounded() {
        let (orders, mut desk) = Orders::new();
        for _ in 0..QUEUE_MAX + 10 {
            let asking = orders.ask(
                Action::Push,
                user(),
                vec![known("b", true)],
                Clock::system(),
            );
            assert!(
                futures_util::FutureExt::now_or_never(asking)
                    .is_none_or(|others| others.answered.is_empty())
            );
        }
        assert_eq!(desk.wanted.len(), QUEUE_MAX);
        for _ in 0..QUEUE_MAX {
            let wanted = wanted(&mut desk).await;
            let number = desk.number();
            desk.sent(number, wanted);
        }
        assert_eq!(desk.waiting.len(), 1, "all askers have gone");
    }
}
