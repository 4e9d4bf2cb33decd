//! `[database]` as it is written, before the defaults that depend on other settings.

use serde::Deserialize;

use crate::config::database_url::DatabaseUrl;
use crate::config::schema::Schema;
use crate::config::settings::Database;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDatabase {
    url: DatabaseUrl,
    schema: Schema,
    pool_size: usize,
    writers: Option<usize>,
    migrate_on_start: bool,
    timeout_ms: u64,
    lock_timeout_ms: Option<u64>,
    conflicts_max: u32,
}

/// The default of `database.lock_timeout_ms`; half of `database.timeout_ms` when that is less.
const LOCK_TIMEOUT_MS: u64 = 1_000;

impl Default for RawDatabase {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            schema: Schema::default(),
            pool_size: 4,
            writers: None,
            migrate_on_start: true,
            timeout_ms: 5_000,
            lock_timeout_ms: None,
            conflicts_max: 100_000,
        }
    }
}

impl RawDatabase {
    pub(super) fn resolve(self) -> Database {
        let writers = self
            .writers
            .unwrap_or(if self.url.is_sqlite() { 1 } else { 2 });
        let lock_timeout_ms = self
            .lock_timeout_ms
            .unwrap_or((self.timeout_ms / 2).clamp(1, LOCK_TIMEOUT_MS));
        let Self {
            url,
            schema,
            pool_size,
            migrate_on_start,
            timeout_ms,
            conflicts_max,
            ..
        } = self;
        Database {
            url,
            schema,
            pool_size,
            writers,
            migrate_on_start,
            timeout_ms,
            lock_timeout_ms,
            conflicts_max,
        }
    }
}
