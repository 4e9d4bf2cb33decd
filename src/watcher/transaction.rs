//! A transaction as TON Center's v3 API writes it. What is not written as expected makes the whole answer unusable:
//! nothing is guessed.

use serde::{Deserialize, Deserializer};

use crate::domain::{TonAddress, TxHash};
use crate::watcher::cells::Body;

/// A transaction's place in the chain of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionId {
    /// Logical time; rises within an account.
    pub lt: u64,
    /// Of the transaction.
    pub hash: TxHash,
}

/// What became of the value that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The transaction went through.
    Done,
    /// It was aborted, and the value was sent back.
    SentBack,
    /// It was aborted, and the account keeps the value: a wallet that is not deployed yet.
    Kept,
}

/// One transaction of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its own place.
    pub id: TransactionId,
    /// Its predecessor; logical time 0 before the first one.
    pub previous: TransactionId,
    /// Whose it is.
    pub account: TonAddress,
    /// When, in Unix seconds.
    pub at_s: i64,
    /// Whether it can no longer change.
    pub is_final: bool,
    /// What became of the value.
    pub phase: Phase,
    /// The message that came in; none for what the chain does by itself.
    pub message: Option<Message>,
}

/// An incoming message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// None for a message from outside the chain.
    pub source: Option<TonAddress>,
    /// Where it went.
    pub destination: Option<TonAddress>,
    /// In nanotons.
    pub value: u128,
    /// Whether it is one of ours that came back.
    pub is_bounced: bool,
    /// What it says.
    pub body: Body,
}

/// The answer of `GET /transactions`.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// In any order.
    pub transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
struct RawTransaction {
    account: String,
    hash: String,
    lt: Digits,
    prev_trans_hash: String,
    prev_trans_lt: Digits,
    now: i64,
    #[serde(default)]
    emulated: bool,
    #[serde(default)]
    finality: Option<String>,
    description: RawDescription,
    in_msg: Option<RawMessage>,
}

#[derive(Deserialize)]
struct RawDescription {
    #[serde(default)]
    aborted: Option<bool>,
    #[serde(default)]
    bounce: Option<RawBounce>,
}

#[derive(Deserialize)]
struct RawBounce {
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RawMessage {
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    destination: Option<String>,
    #[serde(default)]
    value: Option<Digits>,
    #[serde(default)]
    bounced: Option<bool>,
    #[serde(default)]
    message_content: Option<RawContent>,
}

#[derive(Deserialize)]
struct RawContent {
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    decoded: Option<RawDecoded>,
}

#[derive(Deserialize)]
struct RawDecoded {
    #[serde(default, rename = "@type")]
    at_kind: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    comment: Option<String>,
}

/// A number written as a string of digits; as a number, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Digits {
    Text(String),
    Number(u64),
}

impl Digits {
    fn parse(&self) -> Option<u128> {
        match self {
            Self::Number(number) => Some((*number).into()),
            Self::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            Self::Text(_) => None,
        }
    }

    /// A logical time: what SQLite and the service can hold.
    fn logical_time(&self) -> Option<u64> {
        let lt = self.parse().and_then(|lt| i64::try_from(lt).ok())?;
        u64::try_from(lt).ok()
    }
}

impl<'de> Deserialize<'de> for Transaction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawTransaction::deserialize(deserializer)?
            .read()
            .map_err(|what| serde::de::Error::custom(format_args!("{what} is not as expected")))
    }
}

impl RawTransaction {
    /// Names the field that can't be read.
    fn read(self) -> Result<Transaction, &'static str> {
        let id = |lt: &Digits, hash: &str| {
            Some(TransactionId {
                lt: lt.logical_time()?,
                hash: TxHash::parse(hash).ok()?,
            })
        };
        let message = self.in_msg.map(RawMessage::read).transpose()?;
        Ok(Transaction {
            id: id(&self.lt, &self.hash).ok_or("lt or hash")?,
            previous: id(&self.prev_trans_lt, &self.prev_trans_hash)
                .ok_or("prev_trans_lt or prev_trans_hash")?,
            account: TonAddress::parse(&self.account).map_err(|_| "account")?,
            at_s: self.now,
            is_final: !self.emulated
                && self.finality.is_none_or(|finality| finality == "finalized"),
            phase: self.description.phase(),
            message,
        })
    }
}

impl RawDescription {
    fn phase(&self) -> Phase {
        let is_sent_back = self.bounce.as_ref().is_some_and(|bounce| {
            // `nofunds` and `negfunds`: there was too little to send anything back.
            bounce.kind.as_deref().is_none_or(|kind| kind == "ok")
        });
        match (self.aborted, is_sent_back) {
            (Some(true), true) => Phase::SentBack,
            (Some(true), false) => Phase::Kept,
            _ => Phase::Done,
        }
    }
}

impl RawMessage {
    fn read(self) -> Result<Message, &'static str> {
        let address = |text: Option<String>, what| match text.as_deref() {
            None | Some("" | "addr_none") => Ok(None),
            Some(text) => TonAddress::parse(text).map(Some).map_err(|_| what),
        };
        let value = self.value.map_or(Some(0), |value| value.parse());
        Ok(Message {
            source: address(self.source, "in_msg.source")?,
            destination: address(self.destination, "in_msg.destination")?,
            value: value.ok_or("in_msg.value")?,
            is_bounced: self.bounced.unwrap_or(false),
            body: self.message_content.map_or(Body::Empty, RawContent::read),
        })
    }
}

impl RawContent {
    /// The cells say it. Where there is nothing to read in them, the comment that the API has decoded counts.
    fn read(self) -> Body {
        let body = self.body.as_deref().map_or(Body::Empty, Body::parse);
        let decoded = self.decoded.and_then(|decoded| {
            let is_text = [&decoded.at_kind, &decoded.kind]
                .iter()
                .any(|kind| kind.as_deref() == Some("text_comment"));
            decoded.comment.filter(|_| is_text)
        });
        match (body, decoded) {
            (Body::Empty | Body::Unreadable, Some(comment)) => Body::Comment(comment),
            (body, _) => body,
        }
    }
}
