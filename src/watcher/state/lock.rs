//! The right to run on a state file: one watcher at a time has it.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use crate::platform::try_lock;
use crate::watcher::state::StateError;

/// The right to run on a state file; given back when this is dropped, or the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock of a state file.
    ///
    /// # Errors
    /// [`StateError`] while another watcher has it.
    pub fn take(path: &Path) -> Result<Self, StateError> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let why = match try_lock(Path::new(&name)) {
            Ok(Some(file)) => return Ok(Self { _file: file }),
            Ok(None) => "another watcher runs on it".to_owned(),
            Err(error) => format!("can't be locked: {error}"),
        };
        Err(StateError {
            path: path.display().to_string(),
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_watcher_has_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let lock = StateLock::take(&path).expect("free");
        let refused = StateLock::take(&path).expect_err("taken").to_string();
        assert!(refused.contains("another watcher runs on it"), "{refused}");
        drop(lock);
        StateLock::take(&path).expect("free again");
    }
}
