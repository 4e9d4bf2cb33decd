//! What a ledger needs of a PostgreSQL server. All of it is read by one statement, on every connection.
//!
//! Statements are sent with bound values in binary, and literals have no backslash. So `standard_conforming_strings`,
//! `DateStyle`, `IntervalStyle` and `bytea_output` may be anything. So may `lc_messages`: no message is read. What else a
//! session can set is set on each connection.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

use crate::config::Schema;

use super::connect_error::ConnectError;
use super::pooler::{Backend, STARTED_US};

/// The oldest server that is accepted, as in `server_version_num`: `plan_cache_mode` came with it.
const VERSION_MIN: i32 = 120_000;

/// The rights on each table.
const RIGHTS: [(&str, &[&str]); 8] = [
    // Of a server that was promoted from a copy, a new epoch is stored.
    ("ledger_info", &["SELECT", "UPDATE"]),
    ("currencies", &["SELECT", "INSERT"]),
    ("accounts", &["SELECT", "INSERT", "UPDATE"]),
    ("balances", &["SELECT", "INSERT", "UPDATE"]),
    ("entries", &["SELECT", "INSERT"]),
    ("conflicts", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("admin_log", &["SELECT", "INSERT"]),
    ("nodes", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Access {
    /// An audit, by a role that may only read, or on a standby.
    Read,
    /// The service, and migrations.
    Write,
}

/// What a server says of itself and of our tables. Tables that do not exist are not named.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Facts {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = BigInt)]
    started_us: i64,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Text)]
    server_encoding: String,
    #[diesel(sql_type = Text)]
    client_encoding: String,
    #[diesel(sql_type = Bool)]
    is_standby: bool,
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
    #[diesel(sql_type = Bool)]
    is_locked: bool,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
    #[diesel(sql_type = Bool)]
    fsync: bool,
    #[diesel(sql_type = Bool)]
    full_page_writes: bool,
    #[diesel(sql_type = Nullable<Text>)]
    missing_reads: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    missing_writes: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    hidden_rows: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    unlogged: Option<String>,
}

impl Facts {
    /// Reads them in a transaction, so that it works behind every pooler.
    pub(super) fn read(
        connection: &mut PgConnection,
        schema: &str,
        timeout_ms: u64,
    ) -> Result<Self, ConnectError> {
        connection
            .batch_execute(&format!(
                "BEGIN; SET LOCAL statement_timeout = {timeout_ms}"
            ))
            .map_err(ConnectError::of_first_statement)?;
        let facts = sql_query(query())
            .bind::<Text, _>(schema)
            .get_result(connection)
            .map_err(ConnectError::of_query)?;
        connection
            .batch_execute("COMMIT")
            .map_err(ConnectError::of_query)?;
        Ok(facts)
    }

    /// Who answers.
    pub(super) const fn backend(&self) -> Backend {
        Backend {
            pid: self.pid,
            started_us: self.started_us,
        }
    }

    /// Whether an answered COMMIT is on disk already. `remote_apply` waits for more than `on`, and stays.
    pub(super) fn commits_wait(&self) -> bool {
        matches!(self.synchronous_commit.as_str(), "on" | "remote_apply")
    }

    /// What is wrong, as one sentence that names what has to be changed.
    pub(super) fn check(&self, schema: &Schema, access: Access) -> Result<(), String> {
        let Self { role, .. } = self;
        if self.version < VERSION_MIN {
            return Err(format!(
                "the PostgreSQL server has version {}, and {} or later is needed",
                self.version / 10_000,
                VERSION_MIN / 10_000
            ));
        }
        for (setting, encoding) in [
            ("server_encoding", &self.server_encoding),
            ("client_encoding", &self.client_encoding),
        ] {
            if encoding != "UTF8" {
                return Err(format!(
                    "the database can't store every text: its {setting} is {encoding} and has to be UTF8; make another with \
                     CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
                ));
            }
        }
        if self.is_locked {
            return Err(format!(
                "the role {role} may not use the schema {schema}; have its administrator say GRANT USAGE ON SCHEMA \"{schema}\" \
                 TO \"{role}\""
            ));
        }
        if let Some(missing) = &self.missing_reads {
            return Err(lacks_rights(role, missing));
        }
        if let Some(tables) = &self.hidden_rows {
            return Err(format!(
                "row-level security hides rows of {tables} from the role {role}, so balances would be wrong; use the tables' \
                 owner, or a role with BYPASSRLS"
            ));
        }
        if access == Access::Read {
            return Ok(());
        }
        if self.is_standby {
            return Err(
                "the server is a standby (pg_is_in_recovery); name the primary in database.url, or add \
                 target_session_attrs=read-write to it"
                    .into(),
            );
        }
        if self.is_read_only {
            return Err("the server takes no writes: default_transaction_read_only is on".into());
        }
        if let Some(missing) = &self.missing_writes {
            return Err(lacks_rights(role, missing));
        }
        if let Some(tables) = &self.unlogged {
            return Err(format!(
                "a crash of the server would empty {tables}; say ALTER TABLE … SET LOGGED"
            ));
        }
        Ok(())
    }

    /// What a server may do on purpose, and perhaps does by mistake.
    pub(super) fn doubts(&self) -> impl Iterator<Item = &'static str> {
        [
            (
                self.fsync,
                "the server's fsync is off: entries that were answered as durable may be lost when its machine stops",
            ),
            (
                self.full_page_writes,
                "the server's full_page_writes is off: its tables may be damaged when its machine stops",
            ),
        ]
        .into_iter()
        .filter_map(|(is_right, doubt)| (!is_right).then_some(doubt))
    }
}

fn lacks_rights(role: &str, missing: &str) -> String {
    format!(
        "the role {role} lacks rights on the ledger's tables; have their owner GRANT it {missing}"
    )
}

/// One row of facts; `$1` is the schema.
fn query() -> String {
    let needed: Vec<String> = RIGHTS
        .iter()
        .flat_map(|(table, rights)| {
            rights
                .iter()
                .map(move |right| format!("('{table}', '{right}')"))
        })
        .collect();
    let tables: Vec<String> = RIGHTS
        .iter()
        .map(|(table, _)| format!("'{table}'"))
        .collect();
    let (needed, tables) = (needed.join(", "), tables.join(", "));
    format!(
        "WITH place AS MATERIALIZED (SELECT oid FROM pg_namespace WHERE nspname = $1), \
         tables AS MATERIALIZED (SELECT c.oid, c.relname, c.relpersistence FROM pg_class c JOIN place ON c.relnamespace = place.oid \
           WHERE c.relname IN ({tables}) AND c.relkind IN ('r', 'p')), \
         missing AS MATERIALIZED (SELECT right_name, right_name || ' ON ' || relname AS text FROM tables \
           JOIN (VALUES {needed}) AS needed (table_name, right_name) ON table_name = relname \
           WHERE NOT has_table_privilege(tables.oid, right_name)) \
         SELECT pg_backend_pid() AS pid, \
         {STARTED_US} AS started_us, \
         current_setting('server_version_num')::integer AS version, \
         current_setting('server_encoding') AS server_encoding, \
         current_setting('client_encoding') AS client_encoding, \
         pg_is_in_recovery() AS is_standby, \
         current_setting('transaction_read_only')::boolean AS is_read_only, \
         COALESCE((SELECT NOT has_schema_privilege(oid, 'USAGE') FROM place), false) AS is_locked, \
         current_user::text AS role, \
         current_setting('synchronous_commit') AS synchronous_commit, \
         current_setting('fsync')::boolean AS fsync, \
         current_setting('full_page_writes')::boolean AS full_page_writes, \
         (SELECT string_agg(text, ', ') FROM missing WHERE right_name = 'SELECT') AS missing_reads, \
         (SELECT string_agg(text, ', ') FROM missing WHERE right_name <> 'SELECT') AS missing_writes, \
         (SELECT string_agg(relname, ', ') FROM tables WHERE row_security_active(oid)) AS hidden_rows, \
         (SELECT string_agg(relname, ', ') FROM tables WHERE relpersistence = 'u') AS unlogged"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            pid: 1,
            started_us: 1,
            version: 150_004,
            server_encoding: "UTF8".into(),
            client_encoding: "UTF8".into(),
            is_standby: false,
            is_read_only: false,
            is_locked: false,
            role: "balance".into(),
            synchronous_commit: "on".into(),
            fsync: true,
            full_page_writes: true,
            missing_reads: None,
            missing_writes: None,
            hidden_rows: None,
            unlogged: None,
        }
    }

    #[test]
    fn a_server_that_does_not_fit_is_refused_by_the_setting_that_is_wrong() {
        let schema = Schema::default();
        let some = |text: &str| Some(text.to_owned());
        // What is wrong, what the sentence names, whether reading is refused as well.
        type Case = (fn(&mut Facts), &'static str, bool);
        let cases: [Case; 10] = [
            (|f| f.version = 110_022, "version 11, and 12 or later", true),
            (
                |f| f.server_encoding = "LATIN1".into(),
                "server_encoding is LATIN1",
                true,
            ),
            (
                |f| f.server_encoding = "SQL_ASCII".into(),
                "server_encoding is SQL_ASCII",
                true,
            ),
            (
                |f| f.client_encoding = "LATIN1".into(),
                "client_encoding is LATIN1",
                true,
            ),
            (
                |f| f.is_locked = true,
                "USAGE ON SCHEMA \"public\" TO \"balance\"",
                true,
            ),
            (
                |f| f.is_standby = true,
                "target_session_attrs=read-write",
                false,
            ),
            (
                |f| f.is_read_only = true,
                "default_transaction_read_only",
                false,
            ),
            (
                |f| f.missing_writes = Some("UPDATE ON accounts".into()),
                "GRANT it UPDATE ON accounts",
                false,
            ),
            (|f| f.unlogged = Some("entries".into()), "SET LOGGED", false),
            (
                |f| f.hidden_rows = Some("balances".into()),
                "row-level security hides rows of balances",
                true,
            ),
        ];
        for (spoil, says, refuses_reads) in cases {
            let mut facts = good();
            spoil(&mut facts);
            let error = facts.check(&schema, Access::Write).expect_err(says);
            assert!(error.contains(says), "{error}");
            assert_eq!(
                facts.check(&schema, Access::Read).is_err(),
                refuses_reads,
                "{says}"
            );
        }
        let unreadable = Facts {
            missing_reads: some("SELECT ON entries"),
            ..good()
        };
        assert!(unreadable.check(&schema, Access::Read).is_err());
        assert_eq!(good().check(&schema, Access::Write), Ok(()));
    }

    #[test]
    fn what_may_be_on_purpose_is_a_doubt() {
        assert_eq!(good().doubts().count(), 0);
        let fast = Facts {
            fsync: false,
            full_page_writes: false,
            ..good()
        };
        assert_eq!(fast.doubts().count(), 2);
    }
}
