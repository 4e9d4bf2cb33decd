//! Where the ledger is kept.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::secret::MASK;

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
    /// Nothing after `sqlite://`, or a database that exists only within one connection.
    #[error("must name a file after sqlite://")]
    File,
    /// A user name or password whose end is ambiguous, so that it could not be masked.
    #[error(
        "has an @ in a wrong place: write @, / and ? in a user name or password as %40, %2F and %3F"
    )]
    Ambiguous,
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

/// Whether libpq can take the URL apart: `authority` is `[user[:password]@]host[:port][,…]`, `behind` is what follows
/// it.
fn has_form(authority: &str, behind: &str) -> bool {
    let hosts = authority
        .split_once('@')
        .map_or(authority, |(_, hosts)| hosts);
    let mut pairs = behind
        .split_once('?')
        .into_iter()
        .flat_map(|(_, parameters)| parameters.split('&'));
    has_good_escapes(authority)
        && has_good_escapes(behind)
        && hosts.split(',').all(is_host)
        && pairs.all(|pair| pair.matches('=').count() == 1 && !pair.starts_with('='))
}

/// Each `%` stands before two hex digits, and none of them spells NUL.
fn has_good_escapes(text: &str) -> bool {
    let is_good = |part: &str| {
        part.get(..2)
            .is_some_and(|code| u8::from_str_radix(code, 16).is_ok_and(|byte| byte != 0))
    };
    let only_hex = |part: &str| part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    !text.contains('\0')
        && text
            .split('%')
            .skip(1)
            .all(|part| only_hex(part) && is_good(part))
}

/// A host or an address in brackets, and perhaps a port.
fn is_host(text: &str) -> bool {
    let port = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) if !address.is_empty() => port,
        Some(_) => return false,
        None => text.find(':').map_or("", |colon| &text[colon..]),
    };
    port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// The URL, with its password and every parameter that may hold one masked.
fn masked(url: &str) -> String {
    let (head, parameters) = url
        .split_once('?')
        .map_or((url, None), |(head, tail)| (head, Some(tail)));
    let mut shown = match head.split_once('@') {
        Some((before, after)) => {
            let (scheme, user) = before.split_once("://").unwrap_or(("", before));
            match user.split_once(':') {
                Some((user, _)) => format!("{scheme}://{user}:{MASK}@{after}"),
                None => head.to_owned(),
            }
        }
        None => head.to_owned(),
    };
    for (index, parameter) in parameters.iter().flat_map(|all| all.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        let name = parameter.split('=').next().unwrap_or_default();
        // A percent sign could spell any name.
        let hides = ["pass", "secret", "%"]
            .iter()
            .any(|part| name.to_ascii_lowercase().contains(part));
        if hides {
            shown.push_str(&format!("{name}={MASK}"));
        } else {
            shown.push_str(parameter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_file_or_a_server() {
        use DatabaseUrlError::{Ambiguous, File, Form, Scheme};
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
                "postgres://h/db?user=u&password=geheim&a=b",
                "postgres://h/db?user=u&password=***&a=b",
            ),
            (
                "postgres://h/db?p%61ssword=geheim",
                "postgres://h/db?p%61ssword=***",
            ),
            (
                "postgresql://h/db?sslPassword=geheim",
                "postgresql://h/db?sslPassword=***",
            ),
            ("sqlite://balance.db", "sqlite://balance.db"),
        ] {
            let url = DatabaseUrl::parse(text).expect("a valid URL");
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
