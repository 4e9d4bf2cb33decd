//! Processes under load: the service and the baseline servers. Each is stopped by its process id.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::database::Database;
use crate::Result;
use crate::client::http;
use crate::client::signing::Secrets;

/// The longest that a start may take.
const START_MAX: Duration = Duration::from_secs(600);

/// The longest that a stop may take.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A child process that logs its addresses.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with its standard error in `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `find` finds something in its log.
    pub fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let start = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log)?;
            if let Some(found) = log.lines().find_map(&find) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended at its start, {status}: {log}").into());
            }
            if start.elapsed() > START_MAX {
                return Err(format!("it did not get ready: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lines of its log that hold `fragment`.
    pub fn lines_with(&self, fragment: &str) -> Result<usize> {
        Ok(fs::read_to_string(&self.log)?
            .lines()
            .filter(|line| line.contains(fragment))
            .count())
    }

    /// SIGTERM, and waits.
    pub fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).ok_or("a process id is positive")?;
        kill_process(pid, Signal::TERM)?;
        let start = Instant::now();
        while start.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("it ended with {status}").into())
                };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("it did not stop within {STOP_MAX:?}").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ignore errors: it may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service, started by the bench or running already.
#[derive(Debug)]
pub struct Service {
    process: Option<Process>,
    /// The listener for browsers.
    pub public: SocketAddr,
    /// The listener for back ends.
    pub internal: SocketAddr,
    /// Time from the start of the process to ready.
    pub ready_in: Duration,
    secrets: Secrets,
    bin: PathBuf,
    variables: Vec<(String, String)>,
}

/// How the service is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub bin: PathBuf,
    /// Its secrets.
    pub secrets: Secrets,
    /// Settings beside the defaults: `("cache.max_entries", "1000")`.
    pub settings: Vec<(&'static str, String)>,
    /// Where its log goes.
    pub log: PathBuf,
}

impl Launch {
    /// Starts it on a database and waits until it is ready.
    pub fn start(&self, database: &Database) -> Result<Service> {
        self.start_at(database, "127.0.0.1:0".parse()?, "127.0.0.1:0".parse()?)
    }

    /// The same on given addresses.
    pub fn start_at(
        &self,
        database: &Database,
        public: SocketAddr,
        internal: SocketAddr,
    ) -> Result<Service> {
        let mut variables: Vec<(String, String)> = [
            ("server.public_addr", public.to_string()),
            ("server.internal_addr", internal.to_string()),
            ("database.url", database.url()),
            ("auth.webhook_secrets", self.secrets.webhook.clone()),
            ("auth.session_secrets", self.secrets.session.clone()),
            ("auth.admin_tokens", self.secrets.admin.clone()),
        ]
        .into_iter()
        .chain(self.settings.iter().cloned())
        .map(|(key, value)| {
            (
                format!("BALANCE_{}", key.replace('.', "__").to_uppercase()),
                value,
            )
        })
        .collect();
        if let Ok(path) = std::env::var("PATH") {
            variables.push(("PATH".into(), path));
        }
        let mut command = Command::new(&self.bin);
        command
            .arg("serve")
            .env_clear()
            .envs(variables.iter().cloned());
        let start = Instant::now();
        let mut process = Process::start(command, &self.log)?;
        let (public, internal) = process.wait_for(addresses_in)?;
        let ready_in = start.elapsed();
        Ok(Service {
            process: Some(process),
            public,
            internal,
            ready_in,
            secrets: self.secrets.clone(),
            bin: self.bin.clone(),
            variables,
        })
    }
}

impl Service {
    /// One that runs already.
    pub fn attach(public: SocketAddr, internal: SocketAddr, secrets: Secrets) -> Self {
        let (bin, variables) = (PathBuf::new(), Vec::new());
        Self {
            process: None,
            public,
            internal,
            ready_in: Duration::ZERO,
            secrets,
            bin,
            variables,
        }
    }

    /// Its process, when the bench has started it.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its process.
    pub fn process(&self) -> Result<&Process> {
        self.process
            .as_ref()
            .ok_or_else(|| "the bench has not started this service".into())
    }

    /// Stops it.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop)
    }

    /// `GET /admin/v1/registry`
    pub fn registry(&self) -> Result<Value> {
        self.inspect("registry")
    }

    /// `GET /admin/v1/cluster`
    pub fn cluster(&self) -> Result<Value> {
        self.inspect("cluster")
    }

    fn inspect(&self, what: &str) -> Result<Value> {
        let request = format!(
            "GET /admin/v1/{what} HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {}\r\n\r\n",
            self.secrets.admin
        );
        let (status, body) = http::call(self.internal, request.into_bytes())?;
        if status != 200 {
            return Err(format!("/admin/v1/{what}: {status}").into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Runs `balance-coordinator verify` on its ledger; returns its output and duration.
    ///
    /// # Errors
    /// When `verify` finds a violation.
    pub fn verify(&self) -> Result<(String, Duration)> {
        let start = Instant::now();
        let output = Command::new(&self.bin)
            .arg("verify")
            .env_clear()
            .envs(self.variables.iter().cloned())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("the ledger does not hold: {text}").into());
        }
        Ok((text, start.elapsed()))
    }
}

/// `listening on http://A (public) and http://B (internal)`
pub fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, rest) = line.split_once("listening on http://")?;
    let (public, rest) = rest.split_once(" (public) and http://")?;
    let (internal, _) = rest.split_once(" (internal)")?;
    Some((public.parse().ok()?, internal.parse().ok()?))
}
