//! A test's own PgBouncer in front of its database.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, TestDatabase};

/// Where Debian has it.
const DEBIAN: &str = "/usr/sbin/pgbouncer";

/// A running PgBouncer, ended on drop.
pub struct Pooler {
    dir: tempfile::TempDir,
    addr: SocketAddr,
    server: SocketAddr,
    process: Child,
}

impl Pooler {
    /// Whether PgBouncer is installed. Reports when it is not.
    ///
    /// # Panics
    /// When it is not under CI, where no test may be skipped.
    pub fn is_installed() -> bool {
        if program().is_some() {
            return true;
        }
        let notice = "SKIPPED: needs PgBouncer (apt-get install pgbouncer)";
        assert!(std::env::var_os("CI").is_none(), "{notice}");
        // Past the test runner's capture, so that a skip is visible.
        let _ = writeln!(std::io::stderr(), "{notice}");
        false
    }

    /// Starts one on a free port in front of `database`. `settings` are lines of its configuration.
    pub fn start(database: &TestDatabase, settings: &str) -> Self {
        let url = database.url();
        let (_, rest) = url.split_once('@').expect("a user");
        let server = rest.split('/').next().and_then(|addr| addr.parse().ok());
        let server = server.expect("an address");
        let dir = tempfile::tempdir().expect("a directory");
        // For the user that PgBouncer runs as.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))
            .expect("readable");
        // The port is free again, and for a moment another program may take it.
        let addr = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port");
        let process = run(dir.path(), addr, server, settings);
        Self {
            dir,
            addr,
            server,
            process,
        }
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of the database through it.
    pub fn url(&self, database: &TestDatabase) -> String {
        let url = database.url();
        let (scheme, rest) = url.split_once('@').expect("a user");
        let (_, name) = rest.split_once('/').expect("a database");
        format!("{scheme}@{}/{name}", self.addr)
    }

    /// Ends it; its port is free then.
    pub fn stop(&mut self) {
        // Ignore errors: it may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Ends it and starts it on the same port with other settings.
    pub fn restart(&mut self, settings: &str) {
        self.stop();
        self.process = run(self.dir.path(), self.addr, self.server, settings);
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join("pgbouncer"))
        .chain([DEBIAN.into()])
        .find(|path| path.is_file())
}

fn run(dir: &Path, addr: SocketAddr, server: SocketAddr, settings: &str) -> Child {
    let config = dir.join("pgbouncer.ini");
    let text = format!(
        "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr = {}\nlisten_port = {}\n\
         unix_socket_dir =\nauth_type = any\nmax_client_conn = 200\n{settings}\n",
        server.ip(),
        server.port(),
        addr.ip(),
        addr.port(),
    );
    std::fs::write(&config, text).expect("written");
    let log = std::fs::File::create(dir.join("pgbouncer.log")).expect("a log");
    let mut command = Command::new(program().expect("asked for before"));
    command
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    // It refuses to run as root.
    if number(&["-u"]) == Some(0) {
        command
            .uid(number(&["-u", "postgres"]).expect("the user postgres"))
            .gid(number(&["-g", "postgres"]).expect("the group postgres"));
    }
    let mut process = command.spawn().expect("PgBouncer starts");
    let start = Instant::now();
    while TcpStream::connect(addr).is_err() {
        let ended = process.try_wait().expect("its state can be asked");
        let said = || std::fs::read_to_string(dir.join("pgbouncer.log")).unwrap_or_default();
        assert!(ended.is_none(), "PgBouncer ended: {}", said());
        assert!(start.elapsed() < PATIENCE, "PgBouncer: {}", said());
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// What `id` says.
fn number(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
