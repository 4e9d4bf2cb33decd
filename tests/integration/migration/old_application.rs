//! The old application of docs/migration.md, with the page's own JavaScript in it. It needs Node.js and `npm ci` in `old`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::blocks;
use crate::support::{TestApp, WEBHOOK_SECRET};

/// Its folder with the packages; `None` without them.
///
/// # Panics
/// When they are missing under CI, where no test may be skipped.
fn packages() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/migration/old");
    let has_node = Command::new("node").arg("--version").output().is_ok();
    if has_node && folder.join("node_modules/express").is_dir() {
        return Some(folder);
    }
    let notice = "SKIPPED: needs Node.js 20 and npm packages; run `npm ci` in tests/integration/migration/old";
    assert!(std::env::var_os("CI").is_none(), "{notice}");
    // Past the test runner's capture, so that a skip is visible.
    let _ = writeln!(std::io::stderr(), "{notice}");
    None
}

/// The running application; killed on drop.
pub struct OldApplication {
    dir: tempfile::TempDir,
    child: Child,
    service: String,
    database: String,
    pub addr: SocketAddr,
}

impl OldApplication {
    /// Starts it beside the service, on a database of its own; `None` where Node.js or the packages are missing.
    pub fn start(app: &TestApp, database: &str) -> Option<Self> {
        let folder = packages()?;
        let dir = tempfile::tempdir().expect("a directory");
        write_files(&folder, dir.path());
        let service = format!("http://{}", app.internal);
        let (child, port) = spawn(dir.path(), &service, database, 0);
        Some(Self {
            dir,
            child,
            service,
            database: database.to_owned(),
            addr: ([127, 0, 0, 1], port).into(),
        })
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        // Ignore errors: it may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on its port.
    pub fn start_again(&mut self) {
        let port = self.addr.port();
        (self.child, _) = spawn(self.dir.path(), &self.service, &self.database, port);
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("a log")
    }
}

impl Drop for OldApplication {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the old application's log ---\n{}---", self.log());
        }
    }
}

/// Its own file, the packages, and the lines of the page around which there is only what they take.
fn write_files(folder: &Path, dir: &Path) {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node");
    let modules = dir.join("node_modules");
    std::fs::create_dir_all(modules.join("@balance-coordinator")).expect("made");
    symlink(ours, modules.join("@balance-coordinator/node")).expect("linked");
    for package in std::fs::read_dir(folder.join("node_modules")).expect("packages") {
        let package = package.expect("a package");
        symlink(package.path(), modules.join(package.file_name())).expect("linked");
    }
    let beside = blocks("3. Run beside", "js");
    let show = blocks("5. Show", "js");
    let ([client, transaction], [old_pages, handlers]) = (&beside[..], &show[..]) else {
        panic!("other blocks on the page: {beside:?} {show:?}");
    };
    let import = "import { BalanceCoordinator } from '@balance-coordinator/node';\n";
    let farming = format!(
        "{import}{client}export async function farm({{ client, log, userId, amount, period }}) {{\n{transaction}}}\n"
    );
    let import = "import { follow, read, subscribe } from './old-pages.js';\n";
    let handlers =
        format!("{import}export function handle({{ app, wss, userOf }}) {{\n{handlers}}}\n");
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("written");
    write("package.json", "{ \"type\": \"module\" }");
    write("old-pages.js", old_pages);
    write("handlers.mjs", &handlers);
    write("farming.mjs", &farming);
    for file in ["application.mjs", "late.mjs"] {
        std::fs::copy(folder.join(file), dir.join(file)).expect("copied");
    }
}

/// Starts it, and waits until it listens.
fn spawn(dir: &Path, service: &str, database: &str, port: u16) -> (Child, u16) {
    let mut log = std::fs::File::options();
    let log = log
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log");
    let mut child = Command::new("node")
        .args(["--import", "./late.mjs", "application.mjs"])
        .current_dir(dir)
        .env("BALANCE_URL", service)
        .env("BALANCE_SECRET", WEBHOOK_SECRET)
        .env("OLD", database)
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("node starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = lines.next().and_then(Result::ok).unwrap_or_else(|| {
        let log = std::fs::read_to_string(dir.join("log")).expect("a log");
        panic!("the old application has not started: {log}")
    });
    let port = line.strip_prefix("listening on ").expect(&line);
    (child, port.parse().expect("a port"))
}
