//! Strings are one line each. A newline that a secret's file, a shell or a YAML block left behind would otherwise become
//! part of a file's name, a secret or a token, and the start would succeed with another ledger or a secret that nobody
//! else has.

use config::{Map, Value, ValueKind};

use crate::config::error::ConfigError;

/// What is said of a string that is not one line.
const REASON: &str =
    "must be one line without white space at its ends and without control characters";

/// Checks every string below `table`, with `path` for errors.
///
/// # Errors
/// [`ConfigError::Invalid`] by the full key, without the value.
pub(super) fn check(path: &str, table: &Map<String, Value>) -> Result<(), ConfigError> {
    for (key, value) in table {
        let key = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        check_value(&key, value)?;
    }
    Ok(())
}

/// Checks one string.
///
/// # Errors
/// [`ConfigError::Invalid`] by the full key, without the value.
pub(super) fn check_text(key: &str, text: &str) -> Result<(), ConfigError> {
    // A byte order mark is what an editor leaves at the beginning of a file, as a newline at its end.
    let ends_well = |c: Option<char>| c.is_none_or(|c| !c.is_whitespace() && c != '\u{feff}');
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if ends_well(text.chars().next()) && ends_well(text.chars().last()) && !text.contains(breaks) {
        Ok(())
    } else {
        Err(ConfigError::invalid(key, REASON))
    }
}

fn check_value(key: &str, value: &Value) -> Result<(), ConfigError> {
    match &value.kind {
        ValueKind::String(text) => check_text(key, text),
        ValueKind::Table(table) => check(key, table),
        ValueKind::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check_value(&format!("{key}[{index}]"), item)),
        _ => Ok(()),
    }
}
