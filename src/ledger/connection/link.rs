//! The connection of a store and its one open transaction, the same for both databases.

use diesel::connection::SimpleConnection;

use super::{AnyConnection, ConnectError, Connected};
use crate::ledger::errors::StoreError;

/// Opens a connection.
type Connect = Box<dyn Fn() -> Result<Connected, ConnectError> + Send>;

/// A connection that is made when it is needed, and closed when its transaction can't be ended.
pub(in crate::ledger) struct Link {
    connect: Connect,
    connected: Option<Connected>,
    made: u64,
    is_open: bool,
}

impl Link {
    pub(in crate::ledger) fn new(
        connect: impl Fn() -> Result<Connected, ConnectError> + Send + 'static,
    ) -> Self {
        Self {
            connect: Box::new(connect),
            connected: None,
            made: 0,
            is_open: false,
        }
    }

    /// The connection, made now if there is none.
    pub(in crate::ledger) fn connection(&mut self) -> Result<&mut AnyConnection, StoreError> {
        if self.connected.is_none() {
            self.connected = Some((self.connect)()?);
            self.made += 1;
        }
        self.connected
            .as_mut()
            .map(|connected| &mut connected.connection)
            .ok_or_else(|| StoreError::Lost("no connection".into()))
    }

    /// Opens a transaction by `sql`.
    pub(in crate::ledger) fn begin(&mut self, sql: &str) -> Result<&mut AnyConnection, StoreError> {
        let begun = self.connection()?.batch_execute(sql);
        begun.map_err(|error| match StoreError::from(error) {
            StoreError::Failed(reason) => StoreError::Away(reason),
            error => error,
        })?;
        self.is_open = true;
        self.transaction()
    }

    /// The connection, only while a transaction is open: without one, each statement would commit by itself.
    pub(in crate::ledger) fn transaction(&mut self) -> Result<&mut AnyConnection, StoreError> {
        let open = self.connected.as_mut().filter(|_| self.is_open);
        open.map(|connected| &mut connected.connection)
            .ok_or_else(|| StoreError::Lost("no transaction is open".into()))
    }

    /// Commits; any error means that the outcome is unknown.
    pub(in crate::ledger) fn commit(&mut self) -> Result<(), StoreError> {
        self.transaction()?.batch_execute("COMMIT")?;
        self.is_open = false;
        Ok(())
    }

    /// Does something in a separate transaction, which `sql` opens.
    pub(in crate::ledger) fn in_transaction<T>(
        &mut self,
        sql: &str,
        act: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.begin(sql).and_then(act);
        done.and_then(|value| self.commit().map(|()| value))
            .inspect_err(|_| self.rollback())
    }

    /// Runs statements in a separate transaction, and takes them back.
    pub(in crate::ledger) fn try_out(&mut self, sql: &str, does: &str) -> Result<(), StoreError> {
        let done = self
            .begin(sql)
            .and_then(|open| Ok(open.batch_execute(does)?));
        self.rollback();
        done
    }

    /// Rolls an open transaction back. When that fails, closes the connection.
    pub(in crate::ledger) fn rollback(&mut self) {
        let is_left = self
            .transaction()
            .is_ok_and(|open| open.batch_execute("ROLLBACK").is_err());
        self.is_open = false;
        if is_left {
            self.connected = None;
        }
    }

    /// How many connections it has made. What is known of one may not be true of the next.
    pub(in crate::ledger) const fn made(&self) -> u64 {
        self.made
    }

    /// Closes the connection and opens another.
    pub(in crate::ledger) fn reconnect(&mut self) -> Result<(), StoreError> {
        self.connected = None;
        self.is_open = false;
        self.connection().map(|_| ())
    }
}
