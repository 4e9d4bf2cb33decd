//! Rows that were written by hand, or by another program, are completed before anything is decided.

use crate::ledger::connection::link::Link;
use crate::ledger::connection::sqlite_file::data_version;
use crate::ledger::errors::StoreError;
use crate::ledger::rows::event_digest;
use crate::limits::FILLED_ENTRIES_MAX;

/// What one connection knows of them.
#[derive(Debug, Default)]
pub(super) struct ByHand {
    /// When all were completed last. Only other connections write such rows, and each of their commits changes it.
    data_version: Option<i64>,
}

impl ByHand {
    /// Completes all that are there, as far as that is possible; leaves a transaction open as it was.
    pub(super) fn complete(&mut self, link: &mut Link) -> Result<(), StoreError> {
        loop {
            let data_version = Some(data_version(link.transaction()?.sqlite()?)?);
            if self.data_version == data_version {
                return Ok(());
            }
            let mut done = i64::MIN;
            while let Some(last) =
                event_digest::complete(link.transaction()?.sqlite()?, done, FILLED_ENTRIES_MAX)?
            {
                // In transactions of their own: what follows may be rolled back.
                link.commit()?;
                link.begin("BEGIN IMMEDIATE")?;
                done = last;
            }
            self.data_version = data_version;
        }
    }
}
