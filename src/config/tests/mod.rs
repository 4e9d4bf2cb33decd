//! Tables over the configuration: what is accepted, what is refused, and what is never shown.

mod accepted;
mod dev_file;
mod random;
mod refused;
mod values;

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::config::{ConfigError, Settings, Sources};

/// A webhook secret of 24 bytes.
pub(super) const WEBHOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A session secret of 32 bytes.
pub(super) const SESSION: &str = "0123456789abcdefghijklmnopqrstuv";

/// Loads a file of this text and these variables.
pub(super) fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    Settings::load(&Sources {
        file: Some(file.path().to_owned()),
        environment: map(variables),
        ..Sources::default()
    })
}

/// Variables by name.
pub(super) fn map(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
