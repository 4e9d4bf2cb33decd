//! Why a configuration was refused. Every text names the full key and none shows a secret.

use std::path::PathBuf;

/// A configuration that cannot be used. Always final: the operator has to change it, so trying again is useless.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing, unreadable, too large or not UTF-8.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML. The text of the line is left out, since it may hold a secret.
    #[error("{origin}: line {line}, column {column}: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What the TOML reader expected.
        message: String,
    },
    /// No such key.
    #[error("{origin}: {key}: there is no such key")]
    UnknownKey {
        /// The full key, such as `server.nope`.
        key: String,
        /// The file or the environment variable.
        origin: String,
    },
    /// The key exists, but takes another type.
    #[error("{origin}: {key}: must be {expected}")]
    WrongType {
        /// The full key.
        key: String,
        /// The file or the environment variable.
        origin: String,
        /// The type, in words.
        expected: &'static str,
    },
    /// The type is right, the value is impossible.
    #[error("{key}: {reason}")]
    Invalid {
        /// The full key, with the position in a list.
        key: String,
        /// What is wrong, without the value when it is a secret.
        reason: String,
    },
    /// Secrets that the command needs are not set; all of them at once.
    #[error("missing: {} (set in the configuration file, or as {})", keys.join(", "), keys.iter().map(|key| variable(key)).collect::<Vec<_>>().join(", "))]
    MissingSecrets {
        /// The full keys.
        keys: Vec<&'static str>,
    },
    /// The development file could not be made or made private.
    #[error("development file {}: {source}", path.display())]
    DevFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ConfigError {
    /// An impossible value.
    pub(super) fn invalid(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("BALANCE_{}", key.replace('.', "__").to_ascii_uppercase())
}
