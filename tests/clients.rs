//! The libraries for back ends, by their own tests, against the program that cargo has built.
//!
//! `clients/node`: Node's test runner, as `npm test` starts it. Skipped plainly without Node.js; what needs npm packages
//! (`npm ci` in the folder) is skipped without them. Nothing is skipped under CI.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// The oldest Node.js that the library supports.
const NODE_MAJOR_MIN: u32 = 20;

#[test]
fn the_node_client_passes_its_tests() {
    if node_major().is_none_or(|major| major < NODE_MAJOR_MIN) {
        return skip("needs Node.js 20 or newer and npm; install Debian's nodejs and npm");
    }
    let program = std::env::var_os("BALANCE_COORDINATOR_BIN")
        .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_balance-coordinator")));
    let run = Command::new("npm")
        .args(["test", "--silent"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node"))
        .env("BALANCE_COORDINATOR_BIN", program)
        .output();
    let Ok(run) = run else {
        return skip("needs npm; install Debian's npm");
    };
    let told = String::from_utf8_lossy(&run.stdout);
    for skipped in told.lines().filter(|line| line.contains("# SKIP")) {
        notify(skipped);
    }
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success(),
        "{told}{errors}\nagain: cargo build && (cd clients/node && npm test)"
    );
    assert!(told.contains("\n# fail 0"), "tests have run: {told}");
}

fn node_major() -> Option<u32> {
    let version = Command::new("node").arg("--version").output().ok()?;
    let text = String::from_utf8(version.stdout).ok()?;
    text.trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// # Panics
/// Under CI, where nothing may be skipped.
fn skip(why: &str) {
    let notice = format!("SKIPPED: {why}");
    assert!(std::env::var_os("CI").is_none(), "{notice}");
    notify(&notice);
}

/// Past the capture of the test runner, so that a skipped test is always seen.
fn notify(line: &str) {
    // Ignore errors: there is nowhere else to tell it.
    let _ = writeln!(std::io::stderr(), "{line}");
}
