//! The file of an SQLite ledger: one service writes it, and it stays the file that its path names.
//!
//! A file that is moved away, removed, or overwritten by a copy goes on to be written through the open descriptors, and
//! all of it is gone with the process. So is a write-ahead log that is removed. What is committed after that is never said
//! to be durable: [`LedgerFile::check`] fails from then on, and the service ends.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ledger::LedgerError;
use crate::platform::try_lock;

/// The file that a running service has open, and its lock.
#[derive(Debug)]
pub(in crate::ledger) struct LedgerFile {
    path: PathBuf,
    identity: Identity,
    is_lost: AtomicBool,
    /// Of `<path>.lock`; given back when this is dropped, or the process ends.
    _lock: File,
}

/// Which file a path names now: another file has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    #[cfg(unix)]
    pub(in crate::ledger) fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Without inodes only a file that is gone is noticed.
    #[cfg(not(unix))]
    pub(in crate::ledger) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|_| Self {
            device: 0,
            inode: 0,
        })
    }
}

/// A lock on a ledger's file that may not exist yet.
#[derive(Debug)]
pub(in crate::ledger) struct FileLock(File);

impl FileLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`LedgerError::Unfit`] while another service has it, or where it can't be had at all.
    pub(in crate::ledger) fn take(path: &Path) -> Result<Self, LedgerError> {
        let lock_path = beside(&resolved(path), ".lock");
        match try_lock(&lock_path) {
            Ok(Some(lock)) => Ok(Self(lock)),
            Ok(None) => Err(LedgerError::Unfit(format!(
                "another service runs on {}: it holds {}",
                path.display(),
                lock_path.display()
            ))),
            Err(error) => Err(LedgerError::Unfit(format!(
                "{} can't be locked: {error}",
                lock_path.display()
            ))),
        }
    }

    /// The file, which is there by now.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] when it isn't.
    pub(in crate::ledger) fn of_file(self, path: &Path) -> Result<LedgerFile, LedgerError> {
        let identity = Identity::of(path).map_err(|error| {
            LedgerError::Unavailable(format!("{} can't be read: {error}", path.display()))
        })?;
        Ok(LedgerFile {
            path: path.to_owned(),
            identity,
            is_lost: AtomicBool::new(false),
            _lock: self.0,
        })
    }
}

impl LedgerFile {
    /// Whether the path still names the file that was opened. Once it did not, this fails for good.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub(in crate::ledger) fn check(&self) -> Result<(), String> {
        if self.is_lost() {
            return Err(self.loss());
        }
        match Identity::of(&self.path) {
            Ok(identity) if identity == self.identity => Ok(()),
            _ => Err(self.lose(&self.loss())),
        }
    }

    /// Notes that what is written is lost, and says so once.
    pub(in crate::ledger) fn lose(&self, what: &str) -> String {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            log::error!("{what}: nothing more is said to be durable, and the service ends");
        }
        what.to_owned()
    }

    /// Whether [`LedgerFile::check`] has failed.
    pub(in crate::ledger) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    fn loss(&self) -> String {
        format!(
            "{} is no longer the file that was opened: it was removed or replaced",
            self.path.display()
        )
    }
}

/// The file that a path leads to through links; a file that does not exist is named by its folder.
fn resolved(path: &Path) -> PathBuf {
    let by_folder = || {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    path.canonicalize()
        .ok()
        .or_else(by_folder)
        .unwrap_or_else(|| path.to_owned())
}

/// A file that SQLite or this service keeps beside the ledger's: its name and `suffix`.
pub(in crate::ledger) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> LedgerFile {
        fs::write(path, "a ledger").expect("written");
        FileLock::take(path)
            .expect("free")
            .of_file(path)
            .expect("there")
    }

    #[test]
    fn a_file_is_lost_when_it_is_removed_moved_or_replaced_even_if_it_comes_back() {
        let removed = |path: &Path| fs::remove_file(path).expect("removed");
        let moved = |path: &Path| fs::rename(path, beside(path, ".old")).expect("moved");
        let replaced = |path: &Path| {
            fs::write(beside(path, ".copy"), "a ledger").expect("written");
            fs::rename(beside(path, ".copy"), path).expect("replaced");
        };
        let actions: [&dyn Fn(&Path); 3] = [&removed, &moved, &replaced];
        for action in actions {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("ledger.db");
            let file = file(&path);
            file.check().expect("untouched");
            fs::write(&path, "longer content in place").expect("written");
            file.check().expect("the same file");
            action(&path);
            assert!(file.check().is_err());
            if fs::exists(beside(&path, ".old")).expect("a folder") {
                fs::rename(beside(&path, ".old"), &path).expect("moved back");
            }
            assert!(
                file.check().is_err(),
                "what was written meanwhile may be elsewhere"
            );
        }
    }

    #[test]
    fn one_service_at_a_time_by_whatever_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        let before_it_exists = FileLock::take(&path).expect("free");
        assert!(FileLock::take(&path).is_err());
        drop(before_it_exists);
        let file = file(&path);
        let link = folder.path().join("link.db");
        #[cfg(unix)]
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        let refusal = FileLock::take(if cfg!(unix) { &link } else { &path });
        let refusal = refusal.expect_err("taken").to_string();
        assert!(refusal.contains("another service"), "{refusal}");
        drop(file);
        FileLock::take(&path).expect("free again");
    }
}
