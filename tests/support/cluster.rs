//! A test's own PostgreSQL server, which can be stopped, paused and started again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

use super::TestDatabase;

/// A running cluster, removed on drop.
pub struct Cluster {
    dir: tempfile::TempDir,
    url: String,
}

/// Pauses all processes of a server until dropped.
pub struct Paused {
    pids: Vec<u32>,
}

impl Cluster {
    /// Makes one and starts it.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let url = control(&["start", text(dir.path())]);
        Self {
            dir,
            url: url.trim().to_owned(),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        let (_, rest) = self.url.split_once('@').expect("a user");
        rest.split('/')
            .next()
            .and_then(|addr| addr.parse().ok())
            .expect("an address")
    }

    /// An empty database in it.
    pub fn create_database(&self) -> TestDatabase {
        let name = "balance".to_owned();
        let mut connection = PgConnection::establish(&self.url).expect("the server answers");
        connection
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("created");
        TestDatabase::Postgres {
            name,
            server: self.url.clone(),
        }
    }

    /// Stops it: `fast` ends the connections in order, `immediate` is a crash.
    pub fn stop(&self, mode: &str) {
        control(&["halt", text(self.dir.path()), mode]);
    }

    /// Makes a stopped server a standby that waits for a primary, or a primary again.
    pub fn set_standby(&self, is_standby: bool) {
        let signal = self.dir.path().join("data/standby.signal");
        if is_standby {
            std::fs::write(signal, "").expect("written");
        } else {
            std::fs::remove_file(signal).expect("removed");
        }
    }

    /// Starts it again on the same port; it accepts connections when this returns.
    pub fn start_again(&self) {
        control(&["resume", text(self.dir.path())]);
    }

    /// Copies the files of a stopped server, as a copy that lags behind would have them.
    pub fn keep_copy(&self) {
        control(&["keep", text(self.dir.path())]);
    }

    /// Fails over to the copy: what was committed since is gone.
    pub fn fail_over(&self) {
        control(&["failover", text(self.dir.path())]);
    }

    /// Sends SIGSTOP to every process of the server: connections stay open without answers.
    pub fn pause(&self) -> Paused {
        let pid_file = self.dir.path().join("data/postmaster.pid");
        let first = std::fs::read_to_string(pid_file).expect("it runs");
        let postmaster: u32 = first
            .lines()
            .next()
            .and_then(|pid| pid.parse().ok())
            .expect("a process id");
        // The parent first, so that it cannot start another child.
        let mut paused = Paused {
            pids: vec![postmaster],
        };
        signal("STOP", &paused.pids);
        let children = children_of(postmaster);
        signal("STOP", &children);
        paused.pids.extend(children);
        paused
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A panic here would hide the test's own.
        let _ = command(&["stop", text(self.dir.path())]).status();
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        signal("CONT", &self.pids);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/postgres"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs `.ci/postgres` and answers what it printed.
fn control(arguments: &[&str]) -> String {
    // The server inherits standard error and would keep a pipe open, so use a file.
    let errors = tempfile::NamedTempFile::new().expect("a file");
    let output = command(arguments)
        .stdout(Stdio::piped())
        .stderr(errors.reopen().expect("it opens"))
        .output()
        .expect("the script runs");
    let said = std::fs::read_to_string(errors.path()).unwrap_or_default();
    assert!(
        output.status.success(),
        ".ci/postgres {arguments:?}: {said}"
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn signal(name: &str, pids: &[u32]) {
    for pid in pids {
        // Ignore errors: a child may already have ended.
        let _ = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid} 2>/dev/null")])
            .status();
    }
}

/// The processes that a process has started.
pub fn children_of(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("/proc tells which processes a server has");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            // `pid (name) state ppid …`; a name may contain any characters.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let ppid = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
            ppid == Some(parent)
        })
        .collect()
}
