//! `[cluster]`: the other nodes of one ledger, and the NATS servers between them; its settings and their rules.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::database_url::DatabaseUrl;
use crate::config::error::ConfigError;
use crate::config::origin::normal_origin;
use crate::config::secret::{SECRET_CHARS_MAX, Secret};

/// Servers that a node may be told of.
const URLS_MAX: usize = 16;
/// Characters of a cluster's name, which is part of each subject.
const NAME_CHARS_MAX: usize = 32;
/// Characters of a node's name.
const NODE_CHARS_MAX: usize = 64;
/// So many beats fit at least into `silence_ms`: one that is lost must not look like a silent node.
const SILENCE_BEATS_MIN: u64 = 3;

/// `[cluster]`: how this process hears of commits that others make on the same ledger. Off without a URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Servers of one NATS cluster; none: this process is alone.
    pub url: Vec<BusUrl>,
    /// Separates clusters that share a server: a part of every subject.
    pub name: String,
    /// This node, for people; each start adds a random id.
    pub node: String,
    /// A user of NATS with its key, as the tools of NATS write it.
    pub credentials_file: Option<PathBuf>,
    /// Whose signature a server's certificate must have; without it the system's certificates count.
    pub tls_ca_file: Option<PathBuf>,
    /// This node's own certificate, for servers that ask for one.
    pub tls_cert_file: Option<PathBuf>,
    /// The key of that certificate.
    pub tls_key_file: Option<PathBuf>,
    /// A user of NATS, with a password.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Time between two beats, in milliseconds.
    pub beat_ms: u64,
    /// A node that is not heard of for so long, in milliseconds, is silent.
    pub silence_ms: u64,
    /// Time between two checks of all users with sessions while all nodes are heard of, in seconds.
    pub check_s: u64,
    /// Users that are checked each second while a node is not heard of.
    pub check_users_per_s: u64,
    /// Where reads and first frames get their balance.
    pub reads: ClusterReads,
}

/// Where reads and first frames get their balance in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterReads {
    /// From the ledger, so that no node shows less than another has shown.
    Ledger,
    /// From memory, while every other node is heard of.
    Memory,
}

/// The address of a NATS server, `nats://host:port` or `tls://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BusUrl(String);

impl BusUrl {
    /// Reads an address; a port that is missing is 4222. `None` for all else, also for one with a user: it has keys of
    /// its own, and the password would be shown.
    pub fn parse(text: &str) -> Option<Self> {
        let url = normal_origin(text)?;
        (url.starts_with("nats://") || url.starts_with("tls://")).then_some(Self(url))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the connection has to be encrypted.
    pub fn is_tls(&self) -> bool {
        self.0.starts_with("tls://")
    }
}

impl<'de> Deserialize<'de> for BusUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| {
            serde::de::Error::custom(
                "must be nats://host:port or tls://host:port; user and password are cluster.user and cluster.password",
            )
        })
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            url: Vec::new(),
            name: "balance".into(),
            node: host_name(),
            credentials_file: None,
            tls_ca_file: None,
            tls_cert_file: None,
            tls_key_file: None,
            user: None,
            password: None,
            beat_ms: 250,
            silence_ms: 1_000,
            check_s: 30,
            check_users_per_s: 20_000,
            reads: ClusterReads::Ledger,
        }
    }
}

impl Cluster {
    /// Whether there is a bus to other nodes.
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// Whether connections have to be encrypted: a server that offers no encryption is then refused.
    pub fn demands_tls(&self) -> bool {
        self.url.iter().any(BusUrl::is_tls)
            || [&self.tls_ca_file, &self.tls_cert_file, &self.tls_key_file]
                .into_iter()
                .any(Option::is_some)
    }

    /// Checks that every file that is named can be read.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] by the full key.
    pub fn require_files(&self) -> Result<(), ConfigError> {
        if !self.is_on() {
            return Ok(());
        }
        for (key, path) in [
            ("cluster.credentials_file", &self.credentials_file),
            ("cluster.tls_ca_file", &self.tls_ca_file),
            ("cluster.tls_cert_file", &self.tls_cert_file),
            ("cluster.tls_key_file", &self.tls_key_file),
        ] {
            if let Some(path) = path {
                require_file(key, path)?;
            }
        }
        Ok(())
    }

    /// Checks what numbers alone don't tell. What depends on another key counts only while the cluster is on.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] by the full key.
    pub(super) fn check(&self, database: &DatabaseUrl) -> Result<(), ConfigError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = |name: &str, max: usize, may: &dyn Fn(u8) -> bool| {
            (1..=max).contains(&name.len()) && name.bytes().all(may)
        };
        if !fits(&self.name, NAME_CHARS_MAX, &is_word) {
            let reason = format!("must be 1 to {NAME_CHARS_MAX} letters, digits, _ and -");
            return Err(ConfigError::invalid("cluster.name", reason));
        }
        if !fits(&self.node, NODE_CHARS_MAX, &|byte| {
            is_word(byte) || byte == b'.'
        }) {
            let reason = format!("must be 1 to {NODE_CHARS_MAX} letters, digits, _, - and .");
            return Err(ConfigError::invalid("cluster.node", reason));
        }
        if self.url.len() > URLS_MAX {
            let reason = format!("must have at most {URLS_MAX} items");
            return Err(ConfigError::invalid("cluster.url", reason));
        }
        if self.is_on() {
            self.check_together(database)
        } else {
            Ok(())
        }
    }

    fn check_together(&self, database: &DatabaseUrl) -> Result<(), ConfigError> {
        let password_fits = |password: &Secret| {
            let text = password.expose();
            !text.is_empty() && text.chars().count() <= SECRET_CHARS_MAX
        };
        let has_user = self.user.as_ref().is_some_and(|user| !user.is_empty());
        let has_password = self.password.as_ref().is_some_and(password_fits);
        let rules = [
            (
                database.is_sqlite(),
                "cluster.url",
                "must not be set on SQLite, which serves one process: several nodes need PostgreSQL",
            ),
            (
                self.silence_ms < SILENCE_BEATS_MIN * self.beat_ms,
                "cluster.silence_ms",
                "must be at least three times cluster.beat_ms",
            ),
            (
                self.user.is_some() && !has_user,
                "cluster.user",
                "must not be empty",
            ),
            (
                self.password.is_some() && !has_password,
                "cluster.password",
                "must be 1 to 1024 characters",
            ),
            (
                has_user && !has_password,
                "cluster.password",
                "must be set, because cluster.user is",
            ),
            (
                has_password && !has_user,
                "cluster.user",
                "must be set, because cluster.password is",
            ),
            (
                has_user && self.credentials_file.is_some(),
                "cluster.credentials_file",
                "must not be set beside cluster.user",
            ),
            (
                self.tls_cert_file.is_some() && self.tls_key_file.is_none(),
                "cluster.tls_key_file",
                "must be set, because cluster.tls_cert_file is",
            ),
            (
                self.tls_key_file.is_some() && self.tls_cert_file.is_none(),
                "cluster.tls_cert_file",
                "must be set, because cluster.tls_key_file is",
            ),
        ];
        match rules.into_iter().find(|(is_broken, ..)| *is_broken) {
            Some((_, key, reason)) => Err(ConfigError::invalid(key, reason)),
            None => Ok(()),
        }
    }
}

fn require_file(key: &str, path: &Path) -> Result<(), ConfigError> {
    let refused = |what: &str| ConfigError::invalid(key, format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| refused(&error.to_string()))?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file {
        Ok(())
    } else {
        Err(refused("is no regular file"))
    }
}

/// The name of this machine, in the characters of a node's name.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let may = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let chars = name.chars().map(|c| if may(c) { c } else { '-' });
    let name: String = chars.take(NODE_CHARS_MAX).collect();
    if name.is_empty() { "node".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_no_user() {
        for (text, kept) in [
            ("nats://127.0.0.1", Some("nats://127.0.0.1")),
            ("nats://Bus.example:4222", Some("nats://bus.example:4222")),
            ("tls://bus.example:4443", Some("tls://bus.example:4443")),
            ("nats://[::1]:4222", Some("nats://[::1]:4222")),
            ("nats://u:geheim@h:4222", None),
            ("nats://h:4222/", None),
            ("nats://h?x=1", None),
            ("nats://", None),
            ("h:4222", None),
            ("ws://h:4222", None),
            ("https://h:4222", None),
            ("nats://h:0", None),
            ("nats://h:65536", None),
            ("", None),
        ] {
            let url = BusUrl::parse(text);
            assert_eq!(url.as_ref().map(BusUrl::as_str), kept, "{text}");
        }
    }

    #[test]
    fn the_name_of_the_machine_is_the_name_of_a_node() {
        let cluster = Cluster::default();
        cluster
            .check(&DatabaseUrl::default())
            .expect("the defaults are valid");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_by_its_key_while_the_cluster_is_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let there = dir.path().join("there.pem");
        std::fs::write(&there, "").expect("written");
        let missing = dir.path().join("missing.pem");
        let of = |url: &[&str]| Cluster {
            url: url
                .iter()
                .map(|url| BusUrl::parse(url).expect("a URL"))
                .collect(),
            tls_ca_file: Some(there.clone()),
            ..Cluster::default()
        };
        let on = of(&["nats://h"]);
        on.require_files().expect("it is there");
        for path in [missing.clone(), dir.path().to_owned()] {
            let refused = Cluster {
                credentials_file: Some(path.clone()),
                ..on.clone()
            };
            let error = refused.require_files().expect_err("no file").to_string();
            let begins = format!("cluster.credentials_file: {}: ", path.display());
            assert!(error.starts_with(&begins), "{error}");
        }
        let off = Cluster {
            credentials_file: Some(missing),
            ..of(&[])
        };
        off.require_files().expect("nothing reads it");
    }
}
