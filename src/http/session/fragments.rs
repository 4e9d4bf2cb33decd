//! Assembles a message that arrives in fragments.
//!
//! Holds the bytes until the last fragment, and never more than `limits.ws_message_bytes`. Start reading at
//! [`Fragments::take`].

use actix_http::ws::Item;
use bytes::BytesMut;

use crate::http::session::frames::End;

/// An incomplete message, if there is one.
#[derive(Debug, Default)]
pub(super) struct Fragments(Option<BytesMut>);

/// The result of taking a fragment.
#[derive(Debug)]
pub(super) enum Assembly {
    /// The message is incomplete.
    Pending,
    /// The message is incomplete, and this fragment was empty. Empty fragments are not bounded by the message's size.
    Empty,
    /// The message is complete.
    Text(String),
    /// The session must close.
    Refused(End),
}

impl Fragments {
    /// Takes the next fragment of a message of at most `bytes_max`.
    pub(super) fn take(&mut self, item: Item, bytes_max: usize) -> Assembly {
        let (bytes, is_last) = match item {
            Item::FirstBinary(_) => return Assembly::Refused(End::UnsupportedData),
            Item::FirstText(bytes) => {
                self.0 = Some(BytesMut::new());
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let Some(message) = &mut self.0 else {
            return Assembly::Refused(End::Protocol);
        };
        if message.len() + bytes.len() > bytes_max {
            return Assembly::Refused(End::TooBig);
        }
        message.extend_from_slice(&bytes);
        if !is_last {
            return if bytes.is_empty() {
                Assembly::Empty
            } else {
                Assembly::Pending
            };
        }
        let whole = self.0.take().unwrap_or_default();
        match String::from_utf8(whole.into()) {
            Ok(text) => Assembly::Text(text),
            Err(_) => Assembly::Refused(End::InvalidUtf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn first(text: &'static str) -> Item {
        Item::FirstText(Bytes::from_static(text.as_bytes()))
    }

    fn next(bytes: &'static [u8]) -> Item {
        Item::Continue(Bytes::from_static(bytes))
    }

    fn last(bytes: &'static [u8]) -> Item {
        Item::Last(Bytes::from_static(bytes))
    }

    #[test]
    fn a_character_may_be_split_between_fragments() {
        let mut fragments = Fragments::default();
        assert!(matches!(
            fragments.take(first("{\"a\":\""), 16),
            Assembly::Pending
        ));
        assert!(matches!(
            fragments.take(next(b"\xc3"), 16),
            Assembly::Pending
        ));
        assert!(matches!(fragments.take(next(b""), 16), Assembly::Empty));
        let Assembly::Text(text) = fragments.take(last(b"\xa9\"}"), 16) else {
            panic!("the text is whole")
        };
        assert_eq!(text, "{\"a\":\"é\"}");
        assert!(
            matches!(
                fragments.take(last(b""), 16),
                Assembly::Refused(End::Protocol)
            ),
            "nothing is left of it"
        );
    }

    #[test]
    fn all_fragments_of_a_message_share_one_limit() {
        let mut fragments = Fragments::default();
        assert!(matches!(
            fragments.take(first("12345678"), 16),
            Assembly::Pending
        ));
        assert!(matches!(
            fragments.take(next(b"12345678"), 16),
            Assembly::Pending
        ));
        assert!(matches!(
            fragments.take(last(b"1"), 16),
            Assembly::Refused(End::TooBig)
        ));
    }

    #[test]
    fn anything_but_text_is_refused_with_its_reason() {
        let binary = Item::FirstBinary(Bytes::new());
        assert!(matches!(
            Fragments::default().take(binary, 16),
            Assembly::Refused(End::UnsupportedData)
        ));
        assert!(matches!(
            Fragments::default().take(next(b"x"), 16),
            Assembly::Refused(End::Protocol)
        ));
        let mut fragments = Fragments::default();
        assert!(matches!(fragments.take(first("x"), 16), Assembly::Pending));
        assert!(matches!(
            fragments.take(last(b"\xff"), 16),
            Assembly::Refused(End::InvalidUtf8)
        ));
    }
}
