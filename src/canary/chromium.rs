//! A Chromium for the canary: found, started without a window and with an empty profile, and killed by its process id.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::platform;

/// The names that are looked for on the search path when none is given.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The longest that it may take to start.
const START_MS: u64 = 60_000;

/// The longest that it may take to end when it was told to.
const END_MS: u64 = 5000;

/// The time between two checks whether it has ended.
const POLL_MS: u64 = 50;

/// The most bytes of its output that an error shows.
const SAID_BYTES_MAX: usize = 500;

/// Finds it: the given path, the variable `CHROMIUM`, or one of the usual names on the search path.
///
/// # Errors
/// Why there is none, in words.
pub fn find(named: Option<&Path>) -> Result<PathBuf, String> {
    let named = named
        .map(Path::to_owned)
        .or_else(|| Some(PathBuf::from(std::env::var_os("CHROMIUM")?)));
    if let Some(path) = named {
        let found = if path.components().count() > 1 {
            Some(path.clone())
        } else {
            in_search_path(&path)
        };
        let found = found.filter(|path| path.is_file());
        return found.ok_or_else(|| format!("there is no Chromium at {}", path.display()));
    }
    let found = NAMES
        .iter()
        .find_map(|name| in_search_path(Path::new(name)));
    found.ok_or_else(|| {
        format!(
            "no Chromium: none of {} is on the PATH; --chromium or CHROMIUM names one",
            NAMES.join(", ")
        )
    })
}

fn in_search_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// A running one.
pub(super) struct Chromium {
    process: Child,
    /// The address of its DevTools: `ws://127.0.0.1:…`.
    pub devtools: String,
    profile: TempDir,
}

impl Chromium {
    /// Starts it, and waits until its DevTools can be reached.
    pub(super) async fn start(program: &Path, clock: Clock) -> Result<Self, String> {
        let failed = |why: String| format!("{}: {why}", program.display());
        let profile = tempfile::Builder::new().prefix("balance-canary-").tempdir();
        let profile =
            profile.map_err(|error| failed(format!("no directory for its profile: {error}")))?;
        let said = profile.path().join("said");
        let log = File::create(&said).map_err(|error| failed(error.to_string()))?;
        let process = Command::new(program)
            .args(arguments(profile.path()))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A Ctrl-C in the terminal must not end it before the run has ended.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut chromium = Self {
            process,
            devtools: String::new(),
            profile,
        };
        let until = clock.deadline(Duration::from_millis(START_MS));
        loop {
            if let Some(devtools) = chromium.find_devtools() {
                chromium.devtools = devtools;
                return Ok(chromium);
            }
            if chromium.has_ended() || until.has_passed() {
                let how = if chromium.has_ended() {
                    "it has ended"
                } else {
                    "it does not start"
                };
                return Err(failed(format!("{how}: {}", last_said(&said))));
            }
            sleep(Duration::from_millis(POLL_MS)).await;
        }
    }

    /// It writes the port and the path into its profile.
    fn find_devtools(&self) -> Option<String> {
        let text = fs::read_to_string(self.profile.path().join("DevToolsActivePort")).ok()?;
        let (port, path) = text.split_once('\n')?;
        let port: u16 = port.parse().ok()?;
        path.starts_with('/')
            .then(|| format!("ws://127.0.0.1:{port}{}", path.trim_end()))
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Waits until it has ended by itself, or ends it.
    pub(super) async fn ended(mut self, clock: Clock) {
        let until = clock.deadline(Duration::from_millis(END_MS));
        while !self.has_ended() && !until.has_passed() {
            sleep(Duration::from_millis(POLL_MS)).await;
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn arguments(profile: &Path) -> Vec<OsString> {
    let mut data = OsString::from("--user-data-dir=");
    data.push(profile);
    let quiet = [
        "--headless=new",
        "--remote-debugging-port=0",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-sync",
    ];
    let mut arguments: Vec<OsString> = quiet.iter().map(OsString::from).collect();
    arguments.push(data);
    // Chromium refuses to run as root otherwise. It opens only the service's own pages.
    if platform::is_root() {
        arguments.push("--no-sandbox".into());
    }
    arguments.push("about:blank".into());
    arguments
}

fn last_said(file: &Path) -> String {
    let said = fs::read(file).unwrap_or_default();
    let from = said.len().saturating_sub(SAID_BYTES_MAX);
    String::from_utf8_lossy(&said[from..])
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_path_without_a_program_is_named_in_the_error() {
        for name in ["/nowhere/chromium", "no-such-chromium"] {
            assert_eq!(
                find(Some(Path::new(name))),
                Err(format!("there is no Chromium at {name}"))
            );
        }
        assert_eq!(
            find(Some(Path::new("/bin/sh"))),
            Ok(PathBuf::from("/bin/sh"))
        );
        assert!(find(Some(Path::new("sh"))).is_ok_and(|path| path.is_absolute()));
    }
}
