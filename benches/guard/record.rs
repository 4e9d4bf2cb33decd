//! The recorded figures, and how they are compared.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Result;

/// How much worse than its record a figure may be, to allow for other compilers and libraries.
pub const ROOM: f64 = 0.10;

/// By name of the scenario, or of what is counted.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Instructions of one entry or push.
    pub instructions: BTreeMap<String, f64>,
    /// Allocations of one entry or push.
    pub allocations: BTreeMap<String, f64>,
    /// Bytes that stay allocated for one.
    pub bytes: BTreeMap<String, f64>,
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/recorded.toml")
}

/// What was recorded.
pub fn read() -> Result<Figures> {
    Ok(toml::from_str(&std::fs::read_to_string(file())?)?)
}

/// Records anew.
pub fn write(figures: &Figures) -> Result<()> {
    let head = "# Written by `cargo run --release --example guard -- --record`; see docs/performance.md.\n\n";
    std::fs::write(file(), format!("{head}{}", toml::to_string(figures)?))?;
    Ok(())
}

/// Figure, subject, recorded value, found value.
pub type Pair<'a> = (&'static str, &'a str, f64, f64);

/// Each found figure beside its record.
///
/// # Errors
/// When only one of the two has a figure.
pub fn pairs<'a>(recorded: &Figures, found: &'a Figures) -> Result<Vec<Pair<'a>>> {
    let mut pairs = Vec::new();
    for (what, old, new) in [
        ("instructions", &recorded.instructions, &found.instructions),
        ("allocations", &recorded.allocations, &found.allocations),
        ("bytes", &recorded.bytes, &found.bytes),
    ] {
        if old.keys().ne(new.keys()) {
            return Err(
                format!("{what}: what is recorded is not what is measured; record anew").into(),
            );
        }
        pairs.extend(
            new.iter()
                .map(|(name, value)| (what, name.as_str(), old[name], *value)),
        );
    }
    Ok(pairs)
}
