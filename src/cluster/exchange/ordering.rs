//! Orders on the bus: those of this node and their answers, those of others and this node's answers.

use bytes::Bytes;

use super::{Exchange, Running};
use crate::cluster::bus::{Bus, Sink};
use crate::cluster::orders::{Done, NodeAnswer, Outward, Wanted, named};
use crate::cluster::tracker::Gap;
use crate::cluster::wire::{OrderMessage, OrderPart, Topic, decode_order, encode_order};

impl<B: Bus, S: Sink> Exchange<B, S> {
    pub(super) async fn order_out(&mut self, outward: Outward, running: &mut Running) {
        match outward {
            Outward::Ask(wanted) => {
                // The others know of the changes that they are to push.
                self.send_queued(running).await;
                self.ask(wanted).await;
            }
            Outward::Answer(Done { to, number, answer }) => {
                let part = OrderPart::Answered { to, answer };
                self.send_order(number, part).await;
            }
        }
    }

    /// One that cannot be sent is dropped, which tells its asker that no answer comes.
    async fn ask(&mut self, wanted: Wanted) {
        let number = self.desk.number();
        let part = OrderPart::Asked {
            action: wanted.action,
            user_id: wanted.user_id,
        };
        if self.send_order(number, part).await {
            self.desk.sent(number, wanted);
        }
    }

    async fn send_order(&mut self, number: u64, part: OrderPart) -> bool {
        let message = encode_order(&OrderMessage {
            origin: self.tracker.own().clone(),
            number,
            part,
        });
        self.send(Topic::Order, message).await
    }

    /// The epoch does not matter: no order changes a balance.
    pub(super) fn take_order(&mut self, payload: &Bytes, running: &mut Running) {
        let OrderMessage {
            origin,
            number,
            part,
        } = match decode_order(payload) {
            Ok(message) => message,
            Err(error) => return self.unreadable(None, &error, running),
        };
        let own = &self.tracker.own().boot;
        match part {
            OrderPart::Asked { action, user_id } if origin.boot != *own => {
                match self.desk.asked(&origin.boot, number) {
                    Some(reply) => self.sink.order(&origin.node, action, user_id, reply),
                    None => self.counted(Gap::Doubled, 1),
                }
            }
            OrderPart::Answered { to, answer } if to == *own => {
                let name = named(&origin.node, &origin.boot);
                self.desk.answered(number, NodeAnswer { name, answer });
            }
            OrderPart::Asked { .. } | OrderPart::Answered { .. } => {}
        }
    }
}
