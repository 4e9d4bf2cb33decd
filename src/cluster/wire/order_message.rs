//! Orders of administrators on their way to all nodes, and the answers on their way back. Both are on one subject.
//!
//! An order is `{…,"order":17,"action":"disconnect","user":184}`, an answer `{…,"order":17,"to":"<boot>","answer":{…}}`, with
//! `v`, `epoch`, `node` and `boot` as in all messages. A node numbers its orders from 1.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cluster::wire::decode::{ThisVersion, decode, origin};
use crate::cluster::wire::{Boot, Origin, VERSION, WireError};
use crate::domain::UserId;

/// The longest answer of a node, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What every node is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Close the user's sessions.
    Disconnect,
    /// Push what is pending.
    Push,
    /// Read the balance from the ledger.
    Refresh,
    /// Remove the actor from memory.
    Retire,
    /// Tell what is known of the user. Changes nothing.
    Inspect,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Disconnect,
        Self::Push,
        Self::Refresh,
        Self::Retire,
        Self::Inspect,
    ];

    /// Its name, in messages and in the admin log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Push => "push",
            Self::Refresh => "refresh",
            Self::Retire => "retire",
            Self::Inspect => "inspect",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// An order, or the answer to one.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderMessage {
    /// The sender.
    pub origin: Origin,
    /// The number that the asking node has given it, from 1.
    pub number: u64,
    /// Which of both.
    pub part: OrderPart,
}

/// See [`OrderMessage`].
#[derive(Debug, Clone, PartialEq)]
pub enum OrderPart {
    /// To all nodes.
    Asked {
        /// What to do.
        action: Action,
        /// For whom.
        user_id: UserId,
    },
    /// To the node that has asked.
    Answered {
        /// That node.
        to: Boot,
        /// An object; its form depends on the action.
        answer: Map<String, Value>,
    },
}

/// Writes either.
pub fn encode_order(message: &OrderMessage) -> Vec<u8> {
    let (action, user, to, answer) = match &message.part {
        OrderPart::Asked { action, user_id } => (Some(*action), Some(*user_id), None, None),
        OrderPart::Answered { to, answer } => (None, None, Some(to), Some(answer)),
    };
    let row = OrderRow {
        v: VERSION,
        epoch: &message.origin.epoch,
        node: &message.origin.node,
        boot: &message.origin.boot,
        order: message.number,
        action,
        user,
        to,
        answer,
    };
    serde_json::to_vec(&row).expect("texts and numbers are JSON")
}

/// Reads either.
///
/// # Errors
/// [`WireError`], also for an action that is unknown here: its sender is a later version.
pub fn decode_order(bytes: &[u8]) -> Result<OrderMessage, WireError> {
    let raw: RawOrder<'_> = decode(bytes)?;
    if raw.order == 0 {
        return Err(WireError::Value("orders are numbered from 1"));
    }
    let part = match (raw.action, raw.user, raw.to, raw.answer) {
        (Some(action), Some(user), None, None) => OrderPart::Asked {
            action: Action::parse(&action).ok_or(WireError::Value("an unknown action"))?,
            user_id: UserId::new(user).map_err(|_| WireError::Value("no user id"))?,
        },
        (None, None, Some(to), Some(answer)) => {
            if answer.get().len() > ANSWER_BYTES_MAX {
                return Err(WireError::TooLong(answer.get().len()));
            }
            OrderPart::Answered {
                to,
                answer: serde_json::from_str(answer.get())?,
            }
        }
        _ => return Err(WireError::Value("neither an order nor an answer")),
    };
    Ok(OrderMessage {
        origin: origin(&raw.epoch, &raw.node, raw.boot)?,
        number: raw.order,
        part,
    })
}

#[derive(Serialize)]
struct OrderRow<'a> {
    v: u64,
    epoch: &'a str,
    node: &'a str,
    boot: &'a Boot,
    order: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a Boot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a Map<String, Value>>,
}

#[derive(Deserialize)]
struct RawOrder<'a> {
    #[serde(rename = "v")]
    _version: ThisVersion,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    #[serde(borrow)]
    node: Cow<'a, str>,
    boot: Boot,
    order: u64,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    user: Option<i64>,
    to: Option<Boot>,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{check_part, spoiled_text};

    fn sender() -> Origin {
        Origin {
            epoch: "8c1f".into(),
            node: "n3".into(),
            boot: Boot::parse("0198").expect("a boot id"),
        }
    }

    fn order(action: Action) -> OrderMessage {
        OrderMessage {
            origin: sender(),
            number: 17,
            part: OrderPart::Asked {
                action,
                user_id: UserId::new(184).expect("a user id"),
            },
        }
    }

    fn answer() -> OrderMessage {
        let answer = serde_json::json!({"resident": true, "version": 7, "sessions": []});
        OrderMessage {
            origin: sender(),
            number: 17,
            part: OrderPart::Answered {
                to: Boot::parse("0197").expect("a boot id"),
                answer: answer.as_object().expect("an object").clone(),
            },
        }
    }

    #[test]
    fn orders_and_answers_have_the_form_of_the_protocol() {
        let written = encode_order(&order(Action::Disconnect));
        assert_eq!(
            std::str::from_utf8(&written).expect("a text"),
            r#"{"v":1,"epoch":"8c1f","node":"n3","boot":"0198","order":17,"action":"disconnect","user":184}"#
        );
        for action in Action::ALL {
            let order = order(action);
            assert_eq!(
                decode_order(&encode_order(&order)).expect("readable"),
                order
            );
        }
        let written = encode_order(&answer());
        assert_eq!(
            std::str::from_utf8(&written).expect("a text"),
            r#"{"v":1,"epoch":"8c1f","node":"n3","boot":"0198","order":17,"to":"0197","answer":{"resident":true,"sessions":[],"version":7}}"#
        );
        assert_eq!(decode_order(&written).expect("readable"), answer());
    }

    #[test]
    fn what_cannot_be_right_is_refused_and_what_is_new_ignored() {
        let [good, answered] = [encode_order(&order(Action::Push)), encode_order(&answer())]
            .map(|bytes| String::from_utf8(bytes).expect("a text"));
        let read = |text: &str| decode_order(text.as_bytes());
        read(&good.replace("\"user\"", "\"why\":{},\"user\"")).expect("a field of a later version");
        for (of, from, to) in [
            (&good, "\"v\":1", "\"v\":2"),
            (&good, "\"order\":17", "\"order\":0"),
            (&good, "\"order\":17", "\"order\":-1"),
            (&good, "\"push\"", "\"pay\""),
            (&good, "\"push\"", "7"),
            (&good, ",\"user\":184", ""),
            (&good, ":184", ":0"),
            (&good, ":184", ":9007199254740992"),
            (&good, ":184", ":184,\"user\":184"),
            (&good, ",\"action\":\"push\"", ""),
            (&good, "\"action\"", "\"to\":\"b\",\"action\""),
            (&good, "\"node\":\"n3\"", "\"node\":\"\""),
            (&answered, "\"to\":\"0197\"", "\"to\":\"\""),
            (&answered, "\"to\":\"0197\",", ""),
            (
                &answered,
                "{\"resident\":true,\"sessions\":[],\"version\":7}",
                "[]",
            ),
            (
                &answered,
                "{\"resident\":true,\"sessions\":[],\"version\":7}",
                "null",
            ),
        ] {
            let spoiled = of.replacen(from, to, 1);
            assert_ne!(&spoiled, of, "{from}");
            assert!(read(&spoiled).is_err(), "{spoiled}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(ANSWER_BYTES_MAX));
        let long = answered.replace("{\"resident\":true,\"sessions\":[],\"version\":7}", &long);
        assert!(matches!(read(&long), Err(WireError::TooLong(_))));
        let later = read(r#"{"v":2,"order":"of","another":"form"}"#);
        assert!(matches!(later, Err(WireError::Version(2))), "{later:?}");
    }

    #[test]
    fn a_spoiled_order_is_an_error_or_an_order() {
        let written = prop::sample::select(vec![order(Action::Retire), answer()])
            .prop_map(|message| String::from_utf8(encode_order(&message)).expect("a text"));
        check_part(2, spoiled_text(written), |text| {
            if let Ok(message) = decode_order(text.as_bytes()) {
                prop_assert!(message.number > 0);
                prop_assert!(decode_order(&encode_order(&message)).is_ok());
            }
            Ok(())
        });
    }
}
