//! Where the ledger is kept.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::postgres_url::{has_form, has_known_parts, masked, sets_search_path};

/// The address of the ledger's database. `Debug`, `Display` and `Serialize` mask its secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file, `sqlite://path`; a relative path starts at the working directory.
    Sqlite(PathBuf),
    /// The whole URL, `postgres://…` or `postgresql://…`, with its password.
    Postgres(String),
}

/// A text that is no database URL; the text itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Neither SQLite nor PostgreSQL.
    #[error("must start with sqlite://, postgres:// or postgresql://")]
    Scheme,
    /// Nothing after `sqlite://`, a directory, or a database that exists only within one connection.
    #[error("must name a file after sqlite://")]
    File,
    /// What other programs take for parameters, a fragment or an escape. Here it would become part of a new file's name.
    #[error("must be sqlite:// and a path without ?, # and %: there are no parameters")]
    SqlitePart,
    /// Something that libpq does not know, or would take for a part of the database's name.
    #[error(
        "must be postgres://user:password@host:port/database?name=value without # and with parameters that libpq knows; write / in the database's name as %2F"
    )]
    PostgresPart,
    /// A user name or password whose end is ambiguous, so that it could not be masked.
    #[error(
        "has an @ in a wrong place: write @, /, ? and # in a user name or password as %40, %2F, %3F and %23"
    )]
    Ambiguous,
    /// A schema that would be overridden.
    #[error("must not set search_path: name the schema in database.schema")]
    SearchPath,
    /// A form that libpq would refuse with a message that repeats the whole URL, password included.
    #[error(
        "must be postgres://user:password@host:port/database?name=value with % only before two hex digits"
    )]
    Form,
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`DatabaseUrlError`], without the text.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(DatabaseUrlError::Scheme)?;
        match scheme {
            // `:memory:` and `file:` would give every connection, or a shared cache, a ledger of its own.
            "sqlite" if rest.is_empty() || rest.starts_with(':') || rest.starts_with("file:") => {
                Err(DatabaseUrlError::File)
            }
            "sqlite" if rest.contains(['?', '#', '%']) || rest.contains(char::is_control) => {
                Err(DatabaseUrlError::SqlitePart)
            }
            "sqlite" if names_directory(rest) => Err(DatabaseUrlError::File),
            "sqlite" => Ok(Self::Sqlite(rest.into())),
            "postgres" | "postgresql" => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let behind = &rest[authority.len()..];
                if authority.matches('@').count() > 1 || behind.contains('@') {
                    return Err(DatabaseUrlError::Ambiguous);
                }
                if !has_form(authority, behind) {
                    return Err(DatabaseUrlError::Form);
                }
                if !has_known_parts(behind) {
                    return Err(DatabaseUrlError::PostgresPart);
                }
                if sets_search_path(behind) {
                    return Err(DatabaseUrlError::SearchPath);
                }
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err(DatabaseUrlError::Scheme),
        }
    }

    /// Whether it is SQLite.
    pub const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

impl Default for DatabaseUrl {
    /// `balance.db` in the working directory.
    fn default() -> Self {
        Self::Sqlite("balance.db".into())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => f.write_str(&masked(url)),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether a path can only be a directory's.
fn names_directory(path: &str) -> bool {
    matches!(path.rsplit('/').next(), None | Some("" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_file_or_a_server() {
        use DatabaseUrlError::{
            Ambiguous, File, Form, PostgresPart, Scheme, SearchPath, SqlitePart,
        };
        for (text, expected) in [
            (
                "sqlite://balance.db",
                Ok(DatabaseUrl::Sqlite("balance.db".into())),
            ),
            (
                "sqlite:///var/lib/balance.db",
                Ok(DatabaseUrl::Sqlite("/var/lib/balance.db".into())),
            ),
            (
                "postgres://u:p@h/db",
                Ok(DatabaseUrl::Postgres("postgres://u:p@h/db".into())),
            ),
            (
                "postgresql://h/db",
                Ok(DatabaseUrl::Postgres("postgresql://h/db".into())),
            ),
            (
                "postgres:///db?host=/run/postgresql",
                Ok(DatabaseUrl::Postgres(
                    "postgres:///db?host=/run/postgresql".into(),
                )),
            ),
            ("sqlite://", Err(File)),
            ("sqlite://:memory:", Err(File)),
            ("sqlite://file:x?mode=memory", Err(File)),
            ("sqlite:///var/lib/", Err(File)),
            ("sqlite://x.db/", Err(File)),
            ("sqlite://.", Err(File)),
            ("sqlite://dir/..", Err(File)),
            ("sqlite://x.db?mode=ro", Err(SqlitePart)),
            ("sqlite://x.db?", Err(SqlitePart)),
            ("sqlite://x.db#main", Err(SqlitePart)),
            ("sqlite://x%20y.db", Err(SqlitePart)),
            ("sqlite://x.db\0", Err(SqlitePart)),
            ("sqlite://x.db\n", Err(SqlitePart)),
            ("mysql://h/db", Err(Scheme)),
            ("balance.db", Err(Scheme)),
            ("", Err(Scheme)),
            ("postgres://u:p@ss@h/db", Err(Ambiguous)),
            ("postgres://u:pa/ss@h/db", Err(Ambiguous)),
            ("postgres://u:pa?ss@h/db", Err(Ambiguous)),
            ("postgres://u@h/db?password=x@y", Err(Ambiguous)),
            ("postgres://u:geheim%zz@h/db", Err(Form)),
            ("postgres://u:geheim%0@h/db", Err(Form)),
            ("postgres://u:geheim%00@h/db", Err(Form)),
            ("postgres://u:geheim%+1@h/db", Err(Form)),
            ("postgres://u:geheim@[::1/db", Err(Form)),
            ("postgres://u:geheim@[::1]x/db", Err(Form)),
            ("postgres://u:geheim@h:x/db", Err(Form)),
            ("postgres://u:geheim/db", Err(Form)),
            ("postgres://h/db?", Err(Form)),
            ("postgres://h/db?geheim", Err(Form)),
            ("postgres://h/db?password=a=b", Err(Form)),
            ("postgres://h/db?a=b&", Err(Form)),
            ("postgres://h/db\0", Err(Form)),
            ("postgres://h/db?a=b", Err(PostgresPart)),
            ("postgres://h/db?sslMode=require", Err(PostgresPart)),
            ("postgres://h/db?%68ost=x", Err(PostgresPart)),
            ("postgres://h/db?pgbouncer=true", Err(PostgresPart)),
            ("postgres://h/db#main", Err(PostgresPart)),
            ("postgres://h/db?sslmode=require#main", Err(PostgresPart)),
            ("postgres://h#main", Err(PostgresPart)),
            ("postgres://h/db/", Err(PostgresPart)),
            ("postgres://h/db/x", Err(PostgresPart)),
            ("postgres://h/db\n", Err(PostgresPart)),
            (
                "postgres://h/db?options=-c%20search_path%3Dx",
                Err(SearchPath),
            ),
            (
                "postgres://h/db?sslmode=require&options=--Search%5Fpath%3Dx",
                Err(SearchPath),
            ),
        ] {
            assert_eq!(DatabaseUrl::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn every_form_that_libpq_takes_is_taken() {
        for text in [
            "postgres://",
            "postgres://u@",
            "postgres://u%40x:p%25@[::1]:5432/db?sslmode=require",
            "postgres://h:5432,[::1],other:/db?target_session_attrs=any&application_name=",
            "postgres://%2Fvar%2Frun/db",
            "postgres://h/",
            "postgres://h/a%2Fb",
            "postgres://h/db?ssl=true&sslrootcert=/etc/ca.pem&options=-c%20work_mem%3D8MB",
        ] {
            assert!(DatabaseUrl::parse(text).is_ok(), "{text}");
        }
    }

    /// In the forms of Neon, Supabase, Google, Azure, Amazon and others.
    #[test]
    fn the_urls_that_hosted_services_hand_out_are_taken() {
        for text in [
            "postgresql://u:npg_x1@ep-a-b-123456.eu-central-1.aws.example.tech/db?sslmode=require&channel_binding=require",
            "postgres://u:p@ep-a-b-123456.example.tech/db?sslmode=require&options=endpoint%3Dep-a-b-123456",
            "postgres://u:p@example.tech/main?sslmode=verify-full&sslrootcert=system&options=project%3Da-b-123456",
            "postgresql://postgres:p%23%24w@db.abcdefgh.example.co:5432/postgres",
            "postgresql://postgres.abcdefgh:p@aws-0-eu-central-1.pooler.example.com:5432/postgres?sslmode=require",
            "postgresql://u:p@/db?host=/cloudsql/project:region:instance",
            "postgres://u%40server:p@server.example.net:5432/db?sslmode=require",
            "postgres://u:p@x.rds.example.com:5432/db?sslmode=verify-full&sslrootcert=/etc/ssl/rds-ca.pem",
            "postgres://u:p@a.example.com:5432,b.example.com:5432/db?target_session_attrs=read-write&sslmode=require",
            "postgres://u:p@h:5432/db?sslmode=verify-full&sslnegotiation=direct&sslcert=/c.pem&sslkey=/k.pem",
        ] {
            assert!(DatabaseUrl::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_shown_url_has_no_password() {
        for (text, shown) in [
            (
                "postgres://u:geheim@h:5432/db",
                "postgres://u:***@h:5432/db",
            ),
            (
                "postgres://u:ge:heim@h/db?sslmode=require",
                "postgres://u:***@h/db?sslmode=require",
            ),
            ("postgres://u@h/db", "postgres://u@h/db"),
            (
                "postgres://h/db?user=u&password=geheim&sslmode=require",
                "postgres://h/db?user=u&password=***&sslmode=require",
            ),
            (
                "postgresql://h/db?sslpassword=geheim",
                "postgresql://h/db?sslpassword=***",
            ),
            (
                "postgresql://h/db?oauth_client_secret=geheim&scram_client_key=geheim&scram_server_key=geheim",
                "postgresql://h/db?oauth_client_secret=***&scram_client_key=***&scram_server_key=***",
            ),
            ("sqlite://balance.db", "sqlite://balance.db"),
        ] {
            let url = DatabaseUrl::parse(text).expect("a valid URL");
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
