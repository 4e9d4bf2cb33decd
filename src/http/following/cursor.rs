//! A place in the feed, as followers keep it: the epoch of the ledger, and the id behind which the next entry comes.
//!
//! It says all that is needed to go on, so it is as good after a restart, and for another process of the same ledger.

use std::fmt;

use crate::http::extract::invalid;
use crate::http::problem::Problem;

/// How many hexadecimal digits the name of an epoch has.
const EPOCH_LEN: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub epoch: String,
    pub id: i64,
}

impl Cursor {
    /// Reads what [`Cursor::fmt`] writes, and nothing else.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let read = || {
            let (epoch, id) = text.split_once('.')?;
            let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            let cursor = Self {
                epoch: epoch.to_owned(),
                id: id.parse().ok()?,
            };
            let is_epoch = epoch.len() == EPOCH_LEN && epoch.bytes().all(is_hex);
            (is_epoch && cursor.id >= 0 && cursor.to_string() == text).then_some(cursor)
        };
        read().ok_or_else(|| invalid("after", "is no cursor that this feed gave"))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        let text = "00ff00ff00ff00ff.17";
        let cursor = Cursor::parse(text).expect("a cursor");
        assert_eq!((cursor.to_string().as_str(), cursor.id), (text, 17));
        for bad in [
            "",
            "17",
            ".17",
            "00ff00ff00ff00ff",
            "00ff00ff00ff00ff.",
            "00ff00ff00ff00ff.-1",
            "00ff00ff00ff00ff.+1",
            "00ff00ff00ff00ff.017",
            "00ff00ff00ff00ff.17 ",
            "00FF00ff00ff00ff.17",
            "00ff00ff00ff00f.17",
            "00ff00ff00ff00ff.9223372036854775808",
            "latest ",
        ] {
            assert!(Cursor::parse(bad).is_err(), "{bad:?}");
        }
    }
}
