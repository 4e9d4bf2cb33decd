//! What the cluster needs of a bus, and where it puts what it hears. Both are small, so that tests can be either.

use std::future::Future;

use bytes::Bytes;

use crate::clock::Mono;
use crate::cluster::orders::Reply;
use crate::cluster::wire::{Action, Topic};
use crate::coordinator::heard::{HeardCommit, Partitions};
use crate::domain::UserId;

/// A connection to the subjects of one cluster. It may lose, double, delay and reorder messages.
pub trait Bus {
    /// Puts a message on its way, within a time that the bus chooses. `false`: it is not on its way, and never will be.
    /// `true` means no more than that it is handed over.
    fn publish(&mut self, topic: Topic, payload: Vec<u8>) -> impl Future<Output = bool>;

    /// The next that happens; nothing is lost when the future is dropped. Own messages come, too.
    fn next(&mut self) -> impl Future<Output = Arrival>;

    /// Ends the connection and makes another, without waiting for it.
    fn reconnect(&mut self) -> impl Future<Output = ()>;

    /// Replaces what makes connections, unless it is busy with making one.
    fn renew(&mut self) -> impl Future<Output = ()>;

    /// Waits a moment until what was published has left this process.
    fn flush(&mut self) -> impl Future<Output = ()>;
}

/// What happens on a bus.
#[derive(Debug)]
pub enum Arrival {
    /// There is a connection. It was another before, or none.
    Connected,
    /// There is none any more.
    Disconnected,
    /// A message of any node, this one included.
    Message {
        /// By its subject.
        topic: Topic,
        /// Not decoded.
        payload: Bytes,
    },
}

/// Where it goes what is heard. Nothing here may wait.
pub trait Sink {
    /// Takes commits of other nodes. `false`: there is no room, and they are lost.
    fn deliver(&mut self, heard: Vec<HeardCommit>) -> bool;

    /// From now on, what was in memory of these partitions has to be compared with the ledger before it is trusted.
    fn distrust(&mut self, partitions: Partitions, now: Mono);

    /// This node is covered until then. It may be earlier than what was said before, and it may have passed.
    fn cover_until(&mut self, until: Mono);

    /// Another node knows this epoch. One of the two is wrong, and the ledger knows which.
    fn other_epoch(&mut self, epoch: &str);

    /// An administrator has given an order at another node, `by` its name.
    fn order(&mut self, by: &str, action: Action, user_id: UserId, reply: Reply);
}
