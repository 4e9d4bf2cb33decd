//! The reverse proxies and load balancers of `deploy`, run as they are shipped: a test replaces addresses, paths and little else.

use std::fmt::Display;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::eventually;

/// A program that `deploy` has examples for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    Nginx,
    Haproxy,
    Caddy,
}

impl ProxyKind {
    /// Those that are installed, each with its program.
    ///
    /// # Panics
    /// When one is missing under CI, where no test may be skipped.
    pub fn installed(wanted: &[Self]) -> Vec<Self> {
        let is_there = |server: &&Self| server.program().is_some();
        let (there, missing): (Vec<&Self>, Vec<_>) = wanted.iter().partition(is_there);
        for server in missing {
            let notice = format!(
                "SKIPPED: needs {server:?}; install Debian's {}",
                server.package()
            );
            assert!(std::env::var_os("CI").is_none(), "{notice}");
            // Past the test runner's capture, so that a skip is visible.
            let _ = writeln!(std::io::stderr(), "{notice}");
        }
        there.into_iter().copied().collect()
    }

    fn package(self) -> &'static str {
        match self {
            Self::Nginx => "nginx-light",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }

    fn program(self) -> Option<String> {
        let name = match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        };
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let found = folders.map(|folder| format!("{folder}/{name}"));
        found.into_iter().find(|path| Path::new(path).exists())
    }

    /// Starts it with this configuration, and waits until it listens on all of these addresses.
    pub async fn run(self, example: Example, listening: &[SocketAddr]) -> ReverseProxy {
        let program = self.program().expect("it is installed");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        let mut command = Command::new(program);
        let text = match self {
            Self::Nginx => {
                command.arg("-e").arg(dir.path().join("log"));
                command.arg("-c").arg(&path);
                nginx_config(dir.path(), &example.text)
            }
            Self::Haproxy => {
                command.arg("-db").arg("-f").arg(&path);
                // As many as a test may have open.
                example.set("maxconn 200000", "maxconn 200").text
            }
            Self::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]);
                command.arg(&path);
                for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
                    command.env(variable, dir.path());
                }
                let own =
                    "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n";
                format!("{own}{}", example.text)
            }
        };
        std::fs::write(&path, text).expect("written");
        let log = std::fs::File::create(dir.path().join("output")).expect("made");
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let child = command.spawn().expect("it starts");
        let mut proxy = ReverseProxy { child, dir };
        eventually("the reverse proxy listens", async || {
            assert!(proxy.is_running(), "{self:?} ended: {}", proxy.log());
            let mut listening = listening.iter();
            listening
                .all(|at| TcpStream::connect(at).is_ok())
                .then_some(())
        })
        .await;
        proxy
    }
}

/// What stands around an example's `server { … }`.
fn nginx_config(dir: &Path, example: &str) -> String {
    let at = dir.display();
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = folders.map(|name| format!("{name}_temp_path {at}/{name};\n"));
    format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/log; events {{}}\n\
         http {{ access_log off; {}{example}\n}}",
        folders.concat()
    )
}

/// An example, with what a test has replaced.
#[derive(Debug, Clone)]
pub struct Example {
    path: &'static str,
    text: String,
}

impl Example {
    /// As it is shipped.
    pub fn read(path: &'static str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(file).expect("a file");
        Self { path, text }
    }

    /// Replaces a text everywhere.
    ///
    /// # Panics
    /// When the example does not have it.
    pub fn set(mut self, from: &str, to: impl Display) -> Self {
        assert!(self.text.contains(from), "{} has no {from}", self.path);
        self.text = self.text.replace(from, &to.to_string());
        self
    }

    /// Leaves out the lines that begin with a word.
    pub fn without(mut self, word: &str) -> Self {
        let lines = self.text.lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with(word));
        self.text = lines.collect::<Vec<_>>().join("\n") + "\n";
        self
    }
}

/// A running program, ended on drop.
#[derive(Debug)]
pub struct ReverseProxy {
    child: Child,
    dir: tempfile::TempDir,
}

impl ReverseProxy {
    fn is_running(&mut self) -> bool {
        let ended = self.child.try_wait().expect("its state can be asked");
        ended.is_none()
    }

    /// What it has printed and logged, where that is a file.
    pub fn log(&self) -> String {
        let files = ["output", "log"].map(|name| std::fs::read(self.dir.path().join(name)));
        let texts =
            files.map(|read| String::from_utf8_lossy(&read.unwrap_or_default()).into_owned());
        texts.concat()
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // Nginx ends its workers when it is told so in order.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}
