//! A Chromium of the canary's own: found, started without a window and with an empty profile, and ended by its process id.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use procfs::process::Process;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::clock::Clock;

/// What it is called, where nobody says.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The longest that it may take to start.
const START_MS: u64 = 60_000;

/// The longest that it may take to end when it was asked to.
const END_MS: u64 = 5000;

/// Between two looks whether it has.
const POLL_MS: u64 = 50;

/// The most bytes of what it said that a failure tells.
const SAID_BYTES_MAX: usize = 500;

/// Finds it: what was named, the variable `CHROMIUM`, or what the search path has.
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
    /// Where its DevTools are: `ws://127.0.0.1:…`.
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
            // What a terminal sends to those who run in it must not reach it: it is ended when the run is.
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

    /// It writes the port, and the path, into its profile.
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
    // Chromium refuses to run as root otherwise. It opens the service's own pages alone.
    if Process::myself()
        .and_then(|process| process.uid())
        .is_ok_and(|uid| uid == 0)
    {
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
    fn one_that_is_named_but_not_there_is_told_by_its_name() {
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
