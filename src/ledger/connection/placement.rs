//! Where the tables are, and whether a new ledger may be made there.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::SqliteConnection;

use crate::config::Schema;
use crate::ledger::LedgerError;

/// Tables by which a ledger is known.
const LEDGER: [&str; 3] = ["ledger_info", "accounts", "entries"];

/// Every table of the migrations.
const OURS: [&str; 8] = [
    "ledger_info",
    "currencies",
    "accounts",
    "balances",
    "entries",
    "conflicts",
    "admin_log",
    "nodes",
];

/// Diesel's list of applied migrations. Other programs may have one, too.
pub(in crate::ledger) const MIGRATIONS: &str = "__diesel_schema_migrations";

/// Names of tables that an error shows.
const SHOWN_MAX: usize = 5;

/// Tables and views of a schema, or of a file, by name; those of extensions are left out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Tables(Vec<String>);

/// What a PostgreSQL database has in the place for the tables, and elsewhere.
#[derive(Debug)]
pub(in crate::ledger) struct Place {
    /// Whether the schema exists.
    pub is_there: bool,
    may_create: bool,
    /// What is in it.
    pub tables: Tables,
    /// Other schemas that have a ledger.
    elsewhere: Vec<String>,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Rights {
    #[diesel(sql_type = Bool)]
    is_there: bool,
    #[diesel(sql_type = Bool)]
    may_create: bool,
}

impl Tables {
    /// Of an SQLite file.
    pub(in crate::ledger) fn of_file(connection: &mut SqliteConnection) -> QueryResult<Self> {
        let all: Vec<Named> = sql_query(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             ORDER BY name",
        )
        .load(connection)?;
        Ok(Self(all.into_iter().map(|row| row.name).collect()))
    }

    pub(in crate::ledger) fn has(&self, table: &str) -> bool {
        self.0.iter().any(|name| name == table)
    }

    pub(in crate::ledger) fn has_ledger(&self) -> bool {
        LEDGER.iter().all(|table| self.has(table))
    }

    /// The first tables of another program.
    fn foreign(&self) -> Option<String> {
        let foreign = self.0.iter().filter(|name| *name != MIGRATIONS);
        let shown: Vec<&str> = foreign.take(SHOWN_MAX).map(String::as_str).collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    }

    /// Refuses an SQLite file in which a new ledger would be beside tables of another program.
    pub(in crate::ledger) fn check_file(&self) -> Result<(), LedgerError> {
        match self.foreign() {
            Some(tables) if !self.has_ledger() => Err(LedgerError::Unfit(format!(
                "the file of database.url has tables of another program ({tables}) and no ledger; name another file"
            ))),
            _ => Ok(()),
        }
    }
}

impl Place {
    /// Looks.
    pub(in crate::ledger) fn of(
        connection: &mut PgConnection,
        schema: &Schema,
    ) -> QueryResult<Self> {
        let Rights {
            is_there,
            may_create,
        } = sql_query(
            "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1) AS is_there, \
             COALESCE((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1), \
             has_database_privilege(current_database(), 'CREATE')) AS may_create",
        )
        .bind::<Text, _>(schema.name())
        .get_result(connection)?;
        let tables: Vec<Named> = sql_query(
            "SELECT relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
             WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (SELECT 1 FROM pg_depend d \
             WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY relname",
        )
        .bind::<Text, _>(schema.name())
        .load(connection)?;
        let ledger = LEDGER.map(|table| format!("'{table}'")).join(", ");
        let elsewhere: Vec<Named> = sql_query(format!(
            "SELECT nspname::text AS name FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
             WHERE nspname <> $1 AND relkind IN ('r', 'p') AND relname IN ({ledger}) \
             GROUP BY nspname HAVING COUNT(*) = {} ORDER BY nspname",
            LEDGER.len()
        ))
        .bind::<Text, _>(schema.name())
        .load(connection)?;
        Ok(Self {
            is_there,
            may_create,
            tables: Tables(tables.into_iter().map(|row| row.name).collect()),
            elsewhere: elsewhere.into_iter().map(|row| row.name).collect(),
        })
    }

    /// Refuses a place without a ledger when one can't, or should not, be made there.
    pub(in crate::ledger) fn check(&self, schema: &Schema) -> Result<(), LedgerError> {
        if self.tables.has_ledger() {
            return Ok(());
        }
        let unfit = |reason| Err(LedgerError::Unfit(reason));
        if !schema.is_named() {
            if let Some(other) = self.elsewhere.first() {
                return unfit(format!(
                    "the schema {schema} has no ledger, and the schema {other} has one; set database.schema to {other}, or to \
                     {schema} to begin a new ledger"
                ));
            }
            if let Some(tables) = self.tables.foreign() {
                return unfit(format!(
                    "the schema {schema} has tables of another program ({tables}) and no ledger; set database.schema to a \
                     schema for the ledger, or to {schema} to have it beside them"
                ));
            }
        }
        if let Some(table) = OURS.iter().find(|table| self.tables.has(table)) {
            return unfit(format!(
                "the schema {schema} has a table {table} of another program; set database.schema to another one"
            ));
        }
        if !self.may_create {
            return unfit(format!(
                "the role may not make tables in the schema {schema}; have its owner say GRANT CREATE ON {} TO the role",
                if self.is_there {
                    format!("SCHEMA \"{schema}\"")
                } else {
                    "DATABASE".into()
                }
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(names: &[&str]) -> Tables {
        Tables(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_new_ledger_is_made_only_where_it_is_meant_to_be() {
        let named = Schema::parse("public").expect("a name");
        let all = [&OURS[..], &[MIGRATIONS, "users"]].concat();
        // Tables, other schemas with a ledger, the right to create; what is said without and with a name.
        for (names, elsewhere, may_create, unnamed, by_name) in [
            (&[][..], &[][..], true, None, None),
            (&[MIGRATIONS], &[], true, None, None),
            (&all, &["x"], false, None, None),
            (&["users"], &[], true, Some("program (users)"), None),
            (&[], &["x"], true, Some("to x"), None),
            (&["users"], &["x"], true, Some("to x"), None),
            (
                &["accounts", "users"],
                &[],
                true,
                Some("(accounts, users)"),
                Some("a table accounts"),
            ),
            (&[], &[], false, Some("GRANT CREATE"), Some("GRANT CREATE")),
        ] {
            let place = Place {
                is_there: true,
                may_create,
                tables: tables(names),
                elsewhere: elsewhere.iter().map(|name| (*name).to_owned()).collect(),
            };
            for (schema, expected) in [(&Schema::default(), unnamed), (&named, by_name)] {
                let checked = place.check(schema).map_err(|error| error.to_string());
                match (checked, expected) {
                    (Ok(()), None) => {}
                    (Err(error), Some(says)) => assert!(error.contains(says), "{error}"),
                    (checked, expected) => panic!("{names:?}: {checked:?}, not {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn a_file_of_another_program_is_left_alone() {
        for (names, fits) in [
            (&[][..], true),
            (&[MIGRATIONS], true),
            (&["users"], false),
            (&["accounts"], false),
            (&[&OURS[..], &["users"]].concat(), true),
        ] {
            assert_eq!(tables(names).check_file().is_ok(), fits, "{names:?}");
        }
    }
}
