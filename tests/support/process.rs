//! The program under test as a child process, signalled by its process id.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::LogReader;

/// The longest that a start may take; a debug build on a busy machine is slow.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A running service and where its log goes.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Start of this process's part of the log.
    log_start: u64,
    /// Reads its standard error, when that is a pipe.
    reader: Option<LogReader>,
}

impl Process {
    /// Starts the program in `dir` with its standard error appended to `log`.
    pub fn start(
        dir: &Path,
        arguments: &[OsString],
        variables: &[(String, String)],
        log: &Path,
    ) -> Self {
        let (file, log_start) = open_log(log);
        let child = Self::spawn(dir, arguments, variables, log, file.into());
        Self {
            child,
            log: log.to_owned(),
            log_start,
            reader: None,
        }
    }

    /// Starts another program, which runs ours.
    pub fn start_other(other: &str, dir: &Path, arguments: &[OsString], log: &Path) -> Self {
        let (file, log_start) = open_log(log);
        let child = environment(Command::new(other), dir, &[])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program starts");
        Self {
            child,
            log: log.to_owned(),
            log_start,
            reader: None,
        }
    }

    /// Where our program is.
    pub fn program_path() -> PathBuf {
        match std::env::var_os("BALANCE_COORDINATOR_BIN") {
            Some(path) => fs::canonicalize(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            None => PathBuf::from(env!("CARGO_BIN_EXE_balance-coordinator")),
        }
    }

    /// Like [`Process::start`], but its standard error is a pipe, which a reader of the test's takes to `log`.
    pub fn start_piped(
        dir: &Path,
        arguments: &[OsString],
        variables: &[(String, String)],
        log: &Path,
    ) -> Self {
        let (file, log_start) = open_log(log);
        let mut child = Self::spawn(dir, arguments, variables, log, Stdio::piped());
        let reader = LogReader::start(child.stderr.take().expect("piped"), file);
        Self {
            child,
            log: log.to_owned(),
            log_start,
            reader: Some(reader),
        }
    }

    fn spawn(
        dir: &Path,
        arguments: &[OsString],
        variables: &[(String, String)],
        log: &Path,
        stderr: Stdio,
    ) -> Child {
        let stdout = File::create(log.with_extension("out")).expect("the output file opens");
        let mut command = program(dir, variables);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        command.spawn().expect("the program starts")
    }

    /// The reader of its log, when that is a pipe.
    pub fn log_reader(&mut self) -> &mut LogReader {
        self.reader.as_mut().expect("its standard error is a pipe")
    }

    /// The public and the internal address, from the log line that says that the service is ready.
    pub async fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let start = Instant::now();
        loop {
            let log = self.log();
            if let Some(addresses) = log.lines().find_map(addresses_in) {
                return addresses;
            }
            let ended = self.child.try_wait().expect("its state can be asked");
            assert!(
                ended.is_none(),
                "the program ended at its start, {ended:?}:\n{log}"
            );
            assert!(
                start.elapsed() < START_PATIENCE,
                "the program did not get ready:\n{log}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What this process has logged so far.
    pub fn log(&self) -> String {
        let mut file = File::open(&self.log).expect("the log opens");
        file.seek(SeekFrom::Start(self.log_start))
            .expect("it seeks");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("it reads");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What this process has printed to standard output so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.log.with_extension("out")).expect("the output file reads")
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`TERM`, `INT`).
    pub fn signal(&self, name: &str) {
        let pid = self.child.id();
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill -{name} {pid}: {status}");
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // Ignore errors: it may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let state = self.child.try_wait();
        state.expect("its state can be asked").is_some()
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self, patience: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state can be asked") {
                return status;
            }
            assert!(
                start.elapsed() < patience,
                "the program did not stop within {patience:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its open files and sockets; `None` without /proc.
    pub fn open_files(&self) -> Option<usize> {
        Some(
            fs::read_dir(format!("/proc/{}/fd", self.child.id()))
                .ok()?
                .count(),
        )
    }

    /// Its open sockets, listeners included; `None` without /proc.
    pub fn open_sockets(&self) -> Option<usize> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?;
        let is_socket = |file: &fs::DirEntry| {
            fs::read_link(file.path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
        };
        Some(files.flatten().filter(is_socket).count())
    }

    /// Resident memory in bytes; `None` without /proc.
    pub fn resident_bytes(&self) -> Option<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).ok()?;
        statm
            .split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|pages| pages * 4096)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!(
                "--- the end of the service's log ---\n{}\n---",
                tail.join("\n")
            );
        }
    }
}

fn open_log(log: &Path) -> (File, u64) {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("the log file opens");
    let log_start = file.metadata().expect("metadata").len();
    (file, log_start)
}

/// The program, with an environment without the test's variables.
fn program(dir: &Path, variables: &[(String, String)]) -> Command {
    environment(Command::new(Process::program_path()), dir, variables)
}

fn environment(mut command: Command, dir: &Path, variables: &[(String, String)]) -> Command {
    command
        .current_dir(dir)
        .env_clear()
        // Without it `serve` refuses: cargo builds the program for tests with the feature `simulation`.
        .env("SIMULATION_BUILD_MAY_SERVE", "1")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs a command of the program to its end.
pub fn run_program(
    dir: &Path,
    arguments: &[&str],
    variables: &[(String, String)],
    input: &[u8],
) -> Output {
    let mut child = program(dir, variables)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Ignore errors: a program that refuses its arguments may exit before it reads.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("the program ends")
}

/// `listening on http://A (public) and http://B (internal)`
fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, rest) = line.split_once("listening on http://")?;
    let (public, rest) = rest.split_once(" (public) and http://")?;
    let (internal, _) = rest.split_once(" (internal)")?;
    Some((public.parse().ok()?, internal.parse().ok()?))
}
