//! Development mode: secrets made once and kept in a private file, and listeners on loopback only.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::RngCore as _;

use crate::config::error::ConfigError;
use crate::config::secret::WEBHOOK_PREFIX;
use crate::config::settings::Server;

/// The name of the development file.
pub const DEV_FILE: &str = "balance.dev.toml";

/// Only the owner may read and write it.
const MODE: u32 = 0o600;

/// Random bytes of each secret.
const SECRET_BYTES: usize = 32;

/// The path of the development file in `dir`; makes it, with new random secrets, when there is none. It is an ordinary
/// configuration file that only its owner can read, also when it was there before.
///
/// # Errors
/// [`ConfigError::DevFile`] when it cannot be made, is no regular file, or cannot be made private.
pub fn ensure_dev_file(dir: &Path) -> Result<PathBuf, ConfigError> {
    let path = dir.join(DEV_FILE);
    match make(&path) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match keep_private(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(ConfigError::DevFile { path, source }),
        },
        Err(source) => Err(ConfigError::DevFile { path, source }),
    }
}

/// Refuses listeners that another machine could reach.
///
/// # Errors
/// [`ConfigError::Invalid`] with the key.
pub(super) fn require_loopback(server: &Server) -> Result<(), ConfigError> {
    let both: [(&str, SocketAddr); 2] = [
        ("server.public_addr", server.public_addr),
        ("server.internal_addr", server.internal_addr),
    ];
    match both.into_iter().find(|(_, addr)| !addr.ip().is_loopback()) {
        Some((key, addr)) => Err(ConfigError::invalid(
            key,
            format!("must be on loopback in development mode, is {addr}"),
        )),
        None => Ok(()),
    }
}

/// Makes the file; it is either whole or not there.
fn make(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    let written = file
        .write_all(contents().as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file would be taken for a whole one next time.
        let _ = fs::remove_file(path);
    }
    written
}

fn keep_private(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("is there already, but is no regular file"));
    }
    fs::set_permissions(path, Permissions::from_mode(MODE))
}

fn contents() -> String {
    let secret = || {
        let mut bytes = [0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    };
    format!(
        "# Secrets for development, made by `balance-coordinator serve --dev`.\n\
         # An ordinary configuration file: any key may be added, and `--config {DEV_FILE}` reads it.\n\
         # Not for production, and not for version control. Remove it to get new secrets.\n\
         \n\
         [auth]\n\
         webhook_secrets = [\"{WEBHOOK_PREFIX}{}\"]\n\
         session_secrets = [\"{}\"]\n\
         admin_tokens = [\"{}\"]\n",
        STANDARD.encode(secret()),
        URL_SAFE_NO_PAD.encode(secret()),
        URL_SAFE_NO_PAD.encode(secret()),
    )
}
