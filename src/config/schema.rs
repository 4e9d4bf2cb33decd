//! Where in a PostgreSQL database the tables are.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// PostgreSQL's longest name, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// The name of a schema, and whether the operator has named it. It needs no escapes, in quotes or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    name: String,
    is_named: bool,
}

impl Schema {
    /// Reads a name. `None` when it has characters that would need an escape, is too long, or is one of PostgreSQL's own.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_own = name.starts_with("pg_") || name == "information_schema";
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits);
        (is_name && !is_own).then(|| Self {
            name: name.to_owned(),
            is_named: true,
        })
    }

    /// The name, exactly as PostgreSQL has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the operator has named it. Then tables of another program in it are no mistake.
    pub const fn is_named(&self) -> bool {
        self.is_named
    }
}

impl Default for Schema {
    /// `public`, not named.
    fn default() -> Self {
        Self {
            name: "public".into(),
            is_named: false,
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| {
            serde::de::Error::custom(
                "must be the name of a schema: 1 to 63 letters, digits, _ and -, not beginning with pg_",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_name_that_needs_no_escapes() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        for name in ["public", "ledger_2", "Ledger", "a-b", "2", &longest] {
            let schema = Schema::parse(name).expect(name);
            assert_eq!((schema.name(), schema.is_named()), (name, true));
        }
        let too_long = format!("{longest}x");
        for name in [
            "",
            "a b",
            "a.b",
            "a\"b",
            "a'b",
            "a,b",
            "$user",
            "b\u{fc}cher",
            "a\n",
            "pg_temp",
            "pg_catalog",
            "information_schema",
            &too_long,
        ] {
            assert_eq!(Schema::parse(name), None, "{name:?}");
        }
        assert!(!Schema::default().is_named());
    }
}
