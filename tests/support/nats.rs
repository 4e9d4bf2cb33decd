//! A test's own NATS server, which can be killed, stopped and started again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use std::net::SocketAddr;

/// A running server, removed on drop.
pub struct Nats {
    dir: tempfile::TempDir,
    url: String,
    variables: Vec<(String, String)>,
}

impl Nats {
    /// Starts one without any configuration.
    pub fn start() -> Self {
        Self::run(None, &[])
    }

    /// Starts one with a configuration; its port is another.
    pub fn with_config(config: &Path, variables: &[(&str, &str)]) -> Self {
        Self::run(Some(config), variables)
    }

    fn run(config: Option<&Path>, variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables: Vec<_> = variables.collect();
        let mut arguments = vec!["start".to_owned(), text(dir.path())];
        arguments.extend(config.map(text));
        let url = control(&arguments, &variables).trim().to_owned();
        Self {
            dir,
            url,
            variables,
        }
    }

    /// `nats://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        let addr = self.url.strip_prefix("nats://").expect("a URL");
        addr.parse().expect("an address")
    }

    /// Ends it: TERM in order, KILL as a crash.
    pub fn end(&self, signal: &str) {
        let arguments = ["halt".into(), text(self.dir.path()), signal.to_owned()];
        control(&arguments, &[]);
    }

    /// Starts it again on its port.
    pub fn start_again(&self) {
        control(&["resume".into(), text(self.dir.path())], &self.variables);
    }

    /// Sends its process a signal, such as STOP.
    pub fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).expect("a file");
        let arguments = [&format!("-{signal}"), pid.trim()];
        let status = Command::new("kill").args(arguments).status();
        assert!(status.expect("kill runs").success());
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        control(&["stop".into(), text(self.dir.path())], &[]);
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a text").to_owned()
}

fn control(arguments: &[String], variables: &[(String, String)]) -> String {
    let program: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/nats");
    let output = Command::new(program)
        .args(arguments)
        .envs(variables.iter().cloned())
        .stderr(Stdio::inherit())
        .output()
        .expect(".ci/nats runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("a text")
}
