//! Shared by all gates: options, the service, its clients, and the report.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::Result;
use crate::baselines::server::Baseline;
use crate::client::clock::now_us;
use crate::client::crowd::{Crowd, Guests};
use crate::client::entries::{Books, Entry, Users, Workload};
use crate::client::http::{self, Outcome};
use crate::client::posting::{self, Way};
use crate::client::signing::{Secrets, Signer, Tokens};
use crate::options::Common;
use crate::report::Report;
use crate::system::database::Database;
use crate::system::service::{Launch, Service};

/// The longest wait for sessions to open or to receive what is due.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Users whose balance is compared with what was acknowledged.
const SAMPLE: usize = 200;

/// One run of the bench.
pub struct Bench {
    /// The options as given.
    pub options: Common,
    /// The results.
    pub report: Report,
    /// Signs requests.
    pub signer: Signer,
    secrets: Secrets,
    tokens: Tokens,
    dir: PathBuf,
    bin: PathBuf,
}

impl Bench {
    /// Prepares directories.
    pub fn new(options: Common) -> Result<Self> {
        let me = std::env::current_exe()?;
        let release = me
            .parent()
            .and_then(Path::parent)
            .ok_or("the bench has a directory")?;
        let bin = options
            .bin
            .clone()
            .unwrap_or_else(|| release.join("balance-coordinator"));
        let bin = bin
            .canonicalize()
            .map_err(|error| format!("{}: {error}; build it first", bin.display()))?;
        let dir = options.dir.clone().unwrap_or_else(|| release.join("load"));
        std::fs::create_dir_all(&dir)?;
        let mut secrets = Secrets::default();
        let given = [
            &options.webhook_secret,
            &options.session_secret,
            &options.admin_token,
        ];
        for (secret, given) in [
            &mut secrets.webhook,
            &mut secrets.session,
            &mut secrets.admin,
        ]
        .into_iter()
        .zip(given)
        {
            if let Some(given) = given {
                secret.clone_from(given);
            }
        }
        let (signer, tokens) = (Signer::new(&secrets)?, Tokens::new(&secrets));
        let dir = dir.canonicalize()?;
        Ok(Self {
            options,
            report: Report::default(),
            signer,
            secrets,
            tokens,
            dir,
            bin,
        })
    }

    /// A size: as given, else the gate's, or a small one with `--quick`.
    pub fn size<T: Copy>(&self, given: Option<T>, gate: T, quick: T) -> T {
        given.unwrap_or(if self.options.quick { quick } else { gate })
    }

    /// A new ledger on each available database.
    pub fn databases(&self) -> Result<Vec<Database>> {
        let mut all = vec![self.sqlite()?];
        all.extend(
            self.options
                .postgres
                .as_deref()
                .map(Database::postgres)
                .transpose()?,
        );
        Ok(all)
    }

    /// A new ledger in SQLite.
    pub fn sqlite(&self) -> Result<Database> {
        Database::sqlite(&self.dir)
    }

    /// Another new one of the same kind.
    pub fn like(&self, database: &Database) -> Result<Database> {
        match database {
            Database::Sqlite { .. } => self.sqlite(),
            Database::Postgres { server, .. } => Database::postgres(server),
        }
    }

    /// How the service is started; its log gets a file of this name.
    pub fn launch(&self, name: &str, settings: &[(&'static str, String)]) -> Launch {
        let log = self.dir.join(format!("{name}.log"));
        Launch {
            bin: self.bin.clone(),
            secrets: self.secrets.clone(),
            settings: settings.to_vec(),
            log,
        }
    }

    /// The service on a database, or the running service named by the options.
    pub fn service(&self, name: &str, database: &Database) -> Result<Service> {
        match (self.options.url, self.options.internal_url) {
            (Some(public), Some(internal)) => {
                Ok(Service::attach(public, internal, self.secrets.clone()))
            }
            _ => self.launch(name, &[]).start(database),
        }
    }

    /// A baseline that is a server.
    pub fn baseline(&self, arguments: &[&str]) -> Result<Baseline> {
        Baseline::start(arguments, &self.dir.join(format!("{}.log", arguments[0])))
    }

    /// Begins to open sessions of users 1 to n.
    pub fn crowd(&self, address: SocketAddr, sessions: usize) -> Result<Crowd> {
        self.crowd_of(address, 1, sessions)
    }

    /// Begins to open sessions, one for each of `sessions` users from `first_user` on.
    pub fn crowd_of(
        &self,
        address: SocketAddr,
        first_user: usize,
        sessions: usize,
    ) -> Result<Crowd> {
        let handshake = |index: usize| -> Result<Vec<u8>> {
            let token = self.tokens.of(i64::try_from(first_user + index)?)?;
            let ours =
                format!("sec-websocket-protocol: balance.v1\r\nauthorization: Bearer {token}\r\n");
            Ok(upgrade("/ws", &ours))
        };
        let handshakes = (0..sessions).map(handshake).collect::<Result<_>>()?;
        Ok(Crowd::open(Guests {
            address,
            first_user,
            handshakes,
        }))
    }

    /// Begins to open sockets of another server, which has a channel for each of the users 1 to n.
    pub fn listeners(&self, address: SocketAddr, sessions: usize) -> Crowd {
        let handshakes = (1..=sessions)
            .map(|user| upgrade(&format!("/ws?user={user}"), ""))
            .collect();
        Crowd::open(Guests {
            address,
            first_user: 1,
            handshakes,
        })
    }

    /// The same entries in every run, except for a running service, whose ledger may have them
    /// already.
    pub fn workload(&self, seed: u64, users: Users) -> Workload {
        let salt = if self.options.url.is_some() {
            now_us().unsigned_abs()
        } else {
            0
        };
        Workload::new(seed ^ salt, users)
    }

    /// A progress bar.
    pub fn bar(&self, name: &str, steps: usize) -> ProgressBar {
        let style =
            ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {elapsed} {msg}");
        let bar = ProgressBar::new(steps as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }

    /// Sends entries in batches and checks that each is acknowledged.
    pub fn post_batches(
        &mut self,
        service: &Service,
        kind: &str,
        entries: &[Entry],
        batch: usize,
        way: Way,
    ) -> Result<Outcome> {
        let (outcome, accepted) =
            posting::batches(&self.signer, service.internal, kind, entries, batch, way)?;
        self.check_accepted(&outcome, accepted, entries.len());
        Ok(outcome)
    }

    /// Checks that each entry of batches was acknowledged.
    pub fn check_accepted(&mut self, outcome: &Outcome, accepted: u64, count: usize) {
        self.report.unavailable += outcome.unavailable;
        let statuses = &outcome.statuses;
        self.report.check(
            || format!("{accepted} of {count} accepted, {statuses:?}"),
            accepted == count as u64,
        );
    }

    /// Sends deposits one by one and checks that each is acknowledged. Calls `on_send` as each goes
    /// out.
    pub fn post_singles(
        &mut self,
        address: SocketAddr,
        entries: &[Entry],
        way: Way,
        on_send: &mut dyn FnMut(&Entry),
    ) -> Result<Outcome> {
        let all = entries.iter().map(Cow::Borrowed);
        let outcome = posting::singles(&self.signer, address, all, way, on_send)?;
        self.check_answered(&outcome, entries.len());
        Ok(outcome)
    }

    /// Checks that each deposit was answered 200.
    pub fn check_answered(&mut self, outcome: &Outcome, count: usize) {
        self.report.unavailable += outcome.unavailable;
        let statuses = &outcome.statuses;
        let holds = outcome.is_clean() && outcome.answers() == count as u64;
        self.report.check(
            || format!("{count} deposits are answered 200, but {statuses:?}"),
            holds,
        );
    }

    /// Compares balances of a sample with what was acknowledged.
    pub fn check_books(&mut self, service: &Service, books: &Books) -> Result<()> {
        for user in books.sample(SAMPLE) {
            let path = format!("/internal/v1/users/{user}/balance");
            let (status, body) = http::call(
                service.internal,
                self.signer.request("GET", &path, "load", b""),
            )?;
            let (version, minor) = books.user(user);
            let ton = format!("{}.{:09}", minor / 1_000_000_000, minor % 1_000_000_000);
            let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let holds = status == 200
                && told["version"] == json!(version)
                && told["balances"]["TON"] == json!(ton);
            self.report.check(
                || format!("user {user} has version {version} and {ton} TON, but: {told}"),
                holds,
            );
        }
        Ok(())
    }

    /// Stops a service of the bench's own and audits its ledger.
    pub fn finish(&mut self, service: &mut Service) -> Result<Option<Duration>> {
        if service.pid().is_none() {
            return Ok(None);
        }
        let stopped = service.stop();
        self.report.check(
            || format!("the service stops well, but: {stopped:?}"),
            stopped.is_ok(),
        );
        let verified = service.verify();
        self.report.check(
            || format!("the ledger holds, but: {verified:?}"),
            verified.is_ok(),
        );
        Ok(verified.ok().map(|(_, took)| took))
    }

    /// Checks that each session has seen the last version of its user, each version once and in order.
    pub fn check_crowd(&mut self, crowd: &Crowd, books: &Books) {
        let measures = crowd.measures();
        let last = |index: usize| {
            let user = crowd.first_user + index;
            books.user(i64::try_from(user).unwrap_or(i64::MAX)).0
        };
        let behind = measures
            .versions
            .iter()
            .enumerate()
            .filter(|(index, version)| **version != last(*index))
            .count();
        let (closed, unreadable, refused) =
            (measures.closed, measures.unreadable, measures.refused);
        let is_misordered = measures.is_misordered;
        drop(measures);
        // Users of a running service may have had entries before.
        let is_new = self.options.url.is_none();
        self.report.check(
            || format!("every session is told the last version, but not {behind}"),
            !is_new || behind == 0,
        );
        self.report
            .check(|| "versions of a session rise".into(), !is_misordered);
        self.report.check(
            || format!("sessions stay open: {closed} closed, {refused} refused, {unreadable} frames unreadable"),
            closed + refused + unreadable == 0,
        );
    }
}

/// A request for a WebSocket. `headers` end with a line feed each.
fn upgrade(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: load\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .into_bytes()
}
