//! The connection of a store and its one open transaction, the same for both databases.

use diesel::connection::SimpleConnection;

use super::connection::AnyConnection;
use super::store::StoreError;

/// Opens a connection.
type Connect = Box<dyn Fn() -> Result<AnyConnection, diesel::ConnectionError> + Send>;

/// A connection that is made when it is needed, and thrown away when its transaction can't be ended.
pub(super) struct Link {
    connect: Connect,
    connection: Option<AnyConnection>,
    is_open: bool,
}

impl Link {
    pub(super) fn new(
        connect: impl Fn() -> Result<AnyConnection, diesel::ConnectionError> + Send + 'static,
    ) -> Self {
        Self {
            connect: Box::new(connect),
            connection: None,
            is_open: false,
        }
    }

    /// The connection, made now if there is none.
    pub(super) fn connection(&mut self) -> Result<&mut AnyConnection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some((self.connect)()?);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| StoreError::Lost("no connection".into()))
    }

    /// Opens a transaction by `sql`.
    pub(super) fn begin(&mut self, sql: &str) -> Result<&mut AnyConnection, StoreError> {
        self.connection()?.batch_execute(sql)?;
        self.is_open = true;
        self.transaction()
    }

    /// The connection inside its open transaction; never one that would commit statement by statement.
    pub(super) fn transaction(&mut self) -> Result<&mut AnyConnection, StoreError> {
        let open = self.connection.as_mut().filter(|_| self.is_open);
        open.ok_or_else(|| StoreError::Lost("no transaction is open".into()))
    }

    /// Commits; any error means that the outcome is unknown.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        self.transaction()?.batch_execute("COMMIT")?;
        self.is_open = false;
        Ok(())
    }

    /// Does something in a transaction of its own, which `sql` opens.
    pub(super) fn in_transaction<T>(
        &mut self,
        sql: &str,
        act: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.begin(sql).and_then(act);
        done.and_then(|value| self.commit().map(|()| value))
            .inspect_err(|_| self.rollback())
    }

    /// Ends an open transaction without a trace. When that fails, the connection has to go.
    pub(super) fn rollback(&mut self) {
        let is_left = self
            .transaction()
            .is_ok_and(|open| open.batch_execute("ROLLBACK").is_err());
        self.is_open = false;
        if is_left {
            self.connection = None;
        }
    }

    /// Throws the connection away and opens another.
    pub(super) fn reconnect(&mut self) -> Result<(), StoreError> {
        self.connection = None;
        self.is_open = false;
        self.connection().map(|_| ())
    }
}
