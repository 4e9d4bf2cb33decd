//! The bus over NATS: the only file that names its client.
//!
//! The client promises less than it seems to. With the server stopped, it takes messages for seconds and loses them; it
//! notices the end of a connection by its own pings alone; while it connects it obeys no order. So it is asked for its
//! state before each message, is pinged each second, gives up by itself, and what it says is believed only as far as own
//! beats come back (see `tracker`). What it loses shows by the numbers of the messages.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError, Subscriber,
};
use futures_util::{FutureExt as _, StreamExt as _};
use openssl::pkey::PKey;
use openssl::x509::X509;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cluster::bus::{Arrival, Bus};
use crate::cluster::wire::{Subjects, Topic};
use crate::config::{Cluster, ConfigError};

/// The longest wait for a connection to be made, with TLS and the sign-in.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest wait for the first connection of all, which may find the settings to be wrong.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// The wait between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
/// After so many failed attempts a client ends and is replaced, so that one that is dropped while it connects ends, too.
const ATTEMPTS_MAX: usize = 20;
/// Time between two pings.
const PING: Duration = Duration::from_secs(1);
/// The longest that one message waits for room in the client.
const PUBLISH: Duration = Duration::from_millis(20);
/// The longest wait at the end until everything is sent.
const FLUSH: Duration = Duration::from_millis(500);
/// Messages that the client holds before they are written to the connection.
const OUT_MAX: usize = 256;
/// Messages that the client holds after they were read. When it is full, the newest are lost.
const IN_MAX: usize = 16_384;
/// Events that the client holds. Its state is asked for as well, so nothing depends on them.
const EVENTS_MAX: usize = 64;

/// Checked settings of connections.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    servers: Vec<ServerAddr>,
    options: ConnectOptions,
    /// Whom a server refuses that refuses: the key.
    sign_in: &'static str,
}

impl NatsOptions {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] by the full key, for a file that cannot be read or holds something else.
    pub fn of(settings: &Cluster) -> Result<Self, ConfigError> {
        let servers = settings.url.iter().enumerate().map(|(index, url)| {
            let parsed = url.as_str().parse::<ServerAddr>();
            parsed.map_err(|error| invalid(&format!("cluster.url[{index}]"), error))
        });
        let mut options = ConnectOptions::new()
            .name(format!("balance-coordinator {}", settings.node))
            .connection_timeout(CONNECT)
            .ping_interval(PING)
            .max_reconnects(ATTEMPTS_MAX)
            .reconnect_delay_callback(|attempt| if attempt <= 1 { RETRY / 10 } else { RETRY })
            .client_capacity(OUT_MAX)
            .subscription_capacity(IN_MAX)
            .require_tls(settings.demands_tls());
        let mut sign_in = "cluster.url";
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            options = options.user_and_password(user.clone(), password.expose().to_owned());
            sign_in = "cluster.password";
        }
        if let Some(path) = &settings.credentials_file {
            let key = "cluster.credentials_file";
            let credentials = read(key, path)?;
            let credentials = String::from_utf8(credentials);
            let credentials = credentials.map_err(|_| in_file(key, path, "is no text"))?;
            let used = options.credentials(&credentials);
            options = used.map_err(|_| in_file(key, path, "holds no credentials"))?;
            sign_in = key;
        }
        if let Some(path) = &settings.tls_ca_file {
            certificates("cluster.tls_ca_file", path)?;
            options = options.add_root_certificates(path.clone());
        }
        if let (Some(certificate), Some(private)) =
            (&settings.tls_cert_file, &settings.tls_key_file)
        {
            certificates("cluster.tls_cert_file", certificate)?;
            let key = "cluster.tls_key_file";
            let pem = read(key, private)?;
            PKey::private_key_from_pem(&pem)
                .map_err(|_| in_file(key, private, "holds no private key in PEM"))?;
            options = options.add_client_certificate(certificate.clone(), private.clone());
        }
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            options,
            sign_in,
        })
    }

    /// Connects once, to find out whether a server refuses the user: that does not pass by itself. A server that is away
    /// may come back, and is only logged.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] by the key of the password or the credentials.
    pub async fn first_contact(&self) -> Result<(), ConfigError> {
        let options = self.options.clone().max_reconnects(self.servers.len());
        match timeout(FIRST_CONTACT, options.connect(self.servers.clone())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error))
                if matches!(
                    error.kind(),
                    ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication
                ) =>
            {
                Err(invalid(self.sign_in, "the server refuses the user"))
            }
            Ok(Err(error)) => {
                log::warn!("cluster: the bus cannot be reached, and is tried on: {error}");
                Ok(())
            }
            Err(_) => {
                log::warn!("cluster: the bus does not answer, and is tried on");
                Ok(())
            }
        }
    }
}

fn invalid(key: &str, reason: impl ToString) -> ConfigError {
    ConfigError::Invalid {
        key: key.to_owned(),
        reason: reason.to_string(),
    }
}

fn in_file(key: &str, path: &Path, what: &str) -> ConfigError {
    invalid(key, format!("{}: {what}", path.display()))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error: io::Error| in_file(key, path, &error.to_string()))
}

fn certificates(key: &str, path: &Path) -> Result<(), ConfigError> {
    let found = X509::stack_from_pem(&read(key, path)?);
    if found.is_ok_and(|found| !found.is_empty()) {
        Ok(())
    } else {
        Err(in_file(key, path, "holds no certificate in PEM"))
    }
}

/// A connection, with its client and one subscription for everything.
pub struct NatsBus {
    options: NatsOptions,
    subjects: Subjects,
    client: Option<Attached>,
    /// The last message found no room, so the next ones do not wait.
    is_stuck: bool,
    is_connected: bool,
}

struct Attached {
    client: Client,
    messages: Subscriber,
    events: mpsc::Receiver<Event>,
}

impl NatsBus {
    /// Begins to connect. To be called on the runtime that the bus is used on.
    pub async fn start(options: NatsOptions, cluster: &str) -> Self {
        let mut bus = Self {
            options,
            subjects: Subjects::new(cluster),
            client: None,
            is_stuck: false,
            is_connected: false,
        };
        bus.attach().await;
        bus
    }

    async fn attach(&mut self) {
        self.is_connected = false;
        self.is_stuck = false;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let options = self
            .options
            .options
            .clone()
            .retry_on_initial_connect()
            .event_callback(move |event| {
                // Full: the state of the client tells the same.
                let _ = sender.try_send(event);
                std::future::ready(())
            });
        let attached = async {
            let client = options.connect(self.options.servers.clone()).await.ok()?;
            let messages = client.subscribe(self.subjects.all().to_owned()).await;
            Some(Attached {
                client,
                messages: messages.ok()?,
                events,
            })
        };
        // Nothing of it waits for a connection.
        self.client = attached.await;
        if self.client.is_none() {
            log::error!("cluster: the client of the bus does not start");
        }
    }

    fn told(&mut self, event: &Event) -> Option<Arrival> {
        match event {
            Event::Connected => self.is_connected = true,
            Event::Disconnected | Event::Closed => self.is_connected = false,
            Event::ServerError(ServerError::AuthorizationViolation) => {
                log::debug!("cluster: the bus refuses the user");
                return None;
            }
            other => {
                log::debug!("cluster: {other}");
                return None;
            }
        }
        Some(if self.is_connected {
            Arrival::Connected
        } else {
            Arrival::Disconnected
        })
    }
}

impl Bus for NatsBus {
    async fn publish(&mut self, topic: Topic, payload: Vec<u8>) -> bool {
        let Some(attached) = &self.client else {
            return false;
        };
        if !self.is_connected || attached.client.connection_state() != State::Connected {
            return false;
        }
        let subject = self.subjects.of(topic).to_owned();
        let mut sending = pin!(attached.client.publish(subject, payload.into()));
        if let Some(sent) = sending.as_mut().now_or_never() {
            self.is_stuck = false;
            return sent.is_ok();
        }
        if self.is_stuck {
            return false;
        }
        match timeout(PUBLISH, sending).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.is_stuck = true;
                false
            }
        }
    }

    async fn next(&mut self) -> Arrival {
        loop {
            if self.client.is_none() {
                self.attach().await;
            }
            let Some(attached) = &mut self.client else {
                // The settings were checked, so this is a bug. The tracker has it tried again.
                return std::future::pending().await;
            };
            tokio::select! {
                biased;
                Some(event) = attached.events.recv() => {
                    if let Some(arrival) = self.told(&event) {
                        return arrival;
                    }
                }
                message = attached.messages.next() => match message {
                    Some(message) => {
                        if let Some(topic) = self.subjects.topic(&message.subject) {
                            return Arrival::Message { topic, payload: message.payload };
                        }
                    }
                    // It has given up.
                    None => {
                        self.client = None;
                        if std::mem::take(&mut self.is_connected) {
                            return Arrival::Disconnected;
                        }
                    }
                },
            }
        }
    }

    async fn reconnect(&mut self) {
        if let Some(attached) = &self.client {
            // A client that takes no orders is replaced later.
            let _ = timeout(PUBLISH, attached.client.force_reconnect()).await;
        }
    }

    async fn renew(&mut self) {
        // One that is connecting goes on: it ends by itself when it fails.
        let is_trying =
            |attached: &Attached| attached.client.connection_state() != State::Connected;
        if !self.client.as_ref().is_some_and(is_trying) {
            self.client = None;
            self.attach().await;
        }
    }

    async fn flush(&mut self) {
        if let Some(attached) = &self.client
            && self.is_connected
        {
            let _ = timeout(FLUSH, attached.client.flush()).await;
        }
    }
}
