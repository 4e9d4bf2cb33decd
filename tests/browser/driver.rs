//! A browser of one test's own: starts ChromeDriver and Chromium with an empty profile, and ends both, by process id.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fantoccini::Client;
use fantoccini::wd::WebDriverCompatibleCommand;
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How often a driver is started until one says its port.
const DRIVER_ATTEMPTS: usize = 5;

/// Browsers at a time; each has several processes.
static SEATS: Semaphore = Semaphore::const_new(2);

/// Runs in every page before its own scripts.
const RECORDER: &str = include_str!("recorder.js");

/// A running browser with one tab.
pub struct Browser {
    client: Client,
    driver: Driver,
    _seat: SemaphorePermit<'static>,
}

/// The driver and whatever it has started; gone when this is dropped.
struct Driver {
    process: Child,
    /// The profile; its path is what the browser's processes are known by.
    profile: tempfile::TempDir,
}

impl Browser {
    /// Whether there is a browser to test in. Says so when there is none.
    ///
    /// # Panics
    /// When there is none under CI, where nothing may be skipped.
    pub fn is_there() -> bool {
        let missing: Vec<&str> = ["chromedriver", "chromium"]
            .into_iter()
            .filter(|name| !is_in_path(name))
            .collect();
        if missing.is_empty() {
            return true;
        }
        let notice = format!(
            "SKIPPED: needs {}; install Debian's chromium and chromium-driver",
            missing.join(" and ")
        );
        assert!(std::env::var_os("CI").is_none(), "{notice}");
        // Past the capture of the test runner, so that a skipped test is always seen.
        let _ = writeln!(std::io::stderr(), "{notice}");
        false
    }

    /// Starts one that speaks English.
    pub async fn start() -> Self {
        Self::start_in("en-US").await
    }

    /// Starts one in a language.
    pub async fn start_in(language: &str) -> Self {
        let seat = SEATS.acquire().await.expect("never closed");
        let profile = tempfile::tempdir().expect("a directory");
        let (process, port) = (0..DRIVER_ATTEMPTS)
            .find_map(|_| start_driver(profile.path()))
            .unwrap_or_else(|| {
                panic!(
                    "no driver: {}",
                    fs::read_to_string(profile.path().join("driver.log")).unwrap_or_default()
                )
            });
        let driver = Driver { process, profile };
        let client = connect(port, driver.profile.path(), language).await;
        let browser = Self {
            client,
            driver,
            _seat: seat,
        };
        browser.prepare_tab().await;
        browser
    }

    /// What each new tab needs: pages of it are recorded.
    pub async fn prepare_tab(&self) {
        self.devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": RECORDER}),
        )
        .await;
    }

    /// The WebDriver session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A command of the DevTools protocol, to the tab in front.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.issue(
            "goog/cdp/execute",
            json!({"cmd": command, "params": parameters}),
        )
        .await
    }

    /// What the consoles of all tabs have said since the last time.
    pub async fn console(&self) -> Vec<Value> {
        let log = self.issue("se/log", json!({"type": "browser"})).await;
        log.as_array().expect("a list").clone()
    }

    async fn issue(&self, path: &'static str, body: Value) -> Value {
        let answer = self.client.issue_cmd(Extension { path, body }).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The process of the tab in front. Another may be starting just then, so the same one has to be found twice.
    pub async fn renderer(&self) -> u32 {
        let mut last = self.busiest().await;
        loop {
            let found = self.busiest().await;
            if found == last {
                return found;
            }
            last = found;
        }
    }

    /// The renderer that computed most while the page in front did.
    async fn busiest(&self) -> u32 {
        let before = self.ticks();
        self.value(
            "(() => { const end = performance.now() + 500; while (performance.now() < end); })()",
        )
        .await;
        let spent = |(pid, ticks): &(u32, u64)| {
            ticks
                - before
                    .iter()
                    .find(|(known, _)| known == pid)
                    .map_or(0, |(_, ticks)| *ticks)
        };
        self.ticks()
            .into_iter()
            .max_by_key(spent)
            .expect("a process")
            .0
    }

    /// The renderers of this browser, with the processor time that each has had, in clock ticks.
    fn ticks(&self) -> Vec<(u32, u64)> {
        let all = all_processes();
        let mut family = processes_of(self.driver.profile.path());
        while let Some((pid, ..)) = all
            .iter()
            .find(|(pid, parent, _)| family.contains(parent) && !family.contains(pid))
        {
            family.push(*pid);
        }
        let is_renderer = |pid: u32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains("--type=renderer"))
        };
        let ours = all
            .into_iter()
            .filter(|(pid, ..)| family.contains(pid) && is_renderer(*pid));
        ours.map(|(pid, _, ticks)| (pid, ticks)).collect()
    }

    /// Ends it. Nothing may stand in the console but what the network says, and that only when it was meant to fail.
    pub async fn close(self, may_fail: bool) {
        let said = self.console().await;
        let wrong: Vec<&Value> = said
            .iter()
            .filter(|line| !(may_fail && line["source"] == "network"))
            .collect();
        assert!(wrong.is_empty(), "the console said {wrong:#?}");
        self.client.clone().close().await.expect("the session ends");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // They may have ended by themselves.
        let _ = self.process.kill();
        let _ = self.process.wait();
        for pid in processes_of(self.profile.path()) {
            let _ = Command::new("sh")
                .args(["-c", &format!("kill -KILL {pid} 2>/dev/null")])
                .status();
        }
    }
}

/// Commands that Chromium has beside the standard's.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(
        &self,
        base: &Url,
        session: Option<&str>,
    ) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!(
            "session/{}/{}",
            session.expect("it has begun"),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

fn is_in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Starts a driver on a free port, which it prints. It may end instead: it takes a port that is free for IPv4, and wants the
/// same for IPv6.
fn start_driver(dir: &Path) -> Option<(Child, u16)> {
    let mut command = Command::new("chromedriver");
    command
        .args(["--port=0", "--log-level=SEVERE"])
        .env("HOME", dir);
    let log = fs::File::create(dir.join("driver.log")).expect("a file");
    let mut driver = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("chromedriver starts");
    let lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        line.split_once("successfully on port ")?
            .1
            .trim_end_matches('.')
            .parse()
            .ok()
    });
    if port.is_none() {
        // It has ended its output, so it is ending.
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, port?))
}

async fn connect(port: u16, profile: &Path, language: &str) -> Client {
    let data = format!("--user-data-dir={}", profile.join("profile").display());
    let lang = format!("--lang={language}");
    let arguments = [
        "--headless=new",
        "--no-sandbox", // the tests may run as root, and open their own pages alone
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--window-size=1280,900",
        &lang,
        &data,
    ];
    let capabilities = json!({
        "browserName": "chrome",
        "goog:loggingPrefs": {"browser": "ALL"},
        "goog:chromeOptions": {"args": arguments, "prefs": {"intl.accept_languages": language}},
    });
    let capabilities = capabilities.as_object().expect("an object").clone();
    let address = format!("http://127.0.0.1:{port}");
    Client::with_capabilities_and_connector(&address, &capabilities, HttpConnector::new())
        .await
        .unwrap_or_else(|error| panic!("no browser: {error}"))
}

/// Every process of the machine: its id, its parent's, and its processor time in clock ticks.
fn all_processes() -> Vec<(u32, u32, u64)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let read = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may have spaces.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some((
            pid,
            u32::try_from(number(1)?).ok()?,
            number(11)? + number(12)?,
        ))
    };
    pids.filter_map(read).collect()
}

/// Sends a signal to a process, by its name.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("a shell runs");
    assert!(sent.success(), "{name} to {pid}");
}

/// The processes that have this profile in their command line.
fn processes_of(profile: &Path) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let name = profile.to_string_lossy();
    let is_of = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*name))
    };
    pids.filter(is_of).collect()
}

/// Where pictures and recorded frames are left.
pub fn artefacts() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// Where the npm packages of the tests are, when they were installed.
pub fn npm_packages() -> Option<PathBuf> {
    Some(folder_with("tests/browser", "node_modules/axe-core")?.join("node_modules"))
}

/// A folder of the project whose npm packages were installed: this one tells. Says so when they were not.
///
/// # Panics
/// When they are missing under CI, where nothing may be skipped.
pub fn folder_with(folder: &str, package: &str) -> Option<PathBuf> {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if whole.join(package).is_dir() {
        return Some(whole);
    }
    let notice = format!("SKIPPED: needs npm packages; run `npm ci` in {folder}");
    assert!(std::env::var_os("CI").is_none(), "{notice}");
    let _ = writeln!(std::io::stderr(), "{notice}");
    None
}
