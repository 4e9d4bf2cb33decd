//! A client: one user's page, connection after connection, over the real WebSocket session and codec.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_http::ws::{CloseReason, Codec, Frame, Message};
use actix_web::error::PayloadError;
use balance_coordinator::coordinator::messages::Peer;
use balance_coordinator::domain::UserId;
use balance_coordinator::http::start_over;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::network::{Network, SESSIONS_PER_USER_MAX};
use super::oracle::SessionRecord;
use super::random::Chance;
use super::world::note;

/// The kernel ends a connection whose frames stay unread for so long (`limits.write_timeout_ms`).
const WRITE_TIMEOUT_MS: u64 = 10_000;

/// What the driver has a client do.
#[derive(Debug)]
pub enum Command {
    Refresh,
    Ping,
    Displayed,
    /// Extend the session by a new token.
    Authenticate,
    /// Something that is no message.
    Garbage,
    /// Read nothing for so many milliseconds.
    Stall(u64),
    /// Take so many milliseconds for each frame; 0: read promptly again.
    Slow(u64),
    /// Answer no ping, or answer them again.
    Silent(bool),
    /// Drop the connection without a word, and come back.
    Drop,
    /// Its process is gone, and the connection with it.
    Orphaned,
    /// Close and stay away.
    Leave,
    /// Be an ordinary client again.
    Calm,
}

/// What a connection came to.
enum Ending {
    ComeBack,
    StayAway,
}

type Outgoing = Pin<Box<dyn Stream<Item = Result<Bytes, actix_web::Error>>>>;

/// One client.
pub struct Client {
    network: Rc<Network>,
    user: i64,
    commands: mpsc::UnboundedReceiver<Command>,
    chance: Chance,
    ids: u64,
    slow_ms: u64,
    is_silent: bool,
}

/// One connection of it.
struct Connection {
    index: usize,
    process: u64,
    to_server: mpsc::UnboundedSender<Result<Bytes, PayloadError>>,
    from_server: Outgoing,
    codec: Codec,
    unread: BytesMut,
    expires_at_s: i64,
}

impl Client {
    pub fn new(
        network: Rc<Network>,
        user: i64,
        chance: Chance,
    ) -> (Self, mpsc::UnboundedSender<Command>) {
        let (sender, commands) = mpsc::unbounded_channel();
        (
            Self {
                network,
                user,
                commands,
                chance,
                ids: 0,
                slow_ms: 0,
                is_silent: false,
            },
            sender,
        )
    }

    /// Connects, and connects again, until it is told to leave or must not come back.
    pub async fn run(mut self) {
        loop {
            let Some(mut connection) = self.connect() else {
                sleep(Duration::from_millis(500)).await;
                continue;
            };
            let ending = self.stay(&mut connection).await;
            let (world, index) = (&self.network.world, connection.index);
            note!(world, "session {index} is over");
            world.check(|oracle, now_us| {
                oracle.sessions[index].close(now_us);
                Ok(())
            });
            drop(connection);
            if matches!(ending, Ending::StayAway) {
                return;
            }
            sleep(Duration::from_millis(self.chance.between(50, 2000))).await;
        }
    }

    fn token(&mut self) -> (String, i64) {
        let process = self.network.process();
        let ttl_s = if self.chance.percent(15) { 20 } else { 3600 };
        let user_id = UserId::new(self.user).expect("a user id");
        let issued = process.sessions.access.now().keys.issue(
            user_id,
            ttl_s,
            self.network.world.clock.now_s(),
        );
        (issued.token, issued.expires_at_s)
    }

    fn connect(&mut self) -> Option<Connection> {
        let process = self.network.process();
        if process.sessions.is_stopping() {
            return None;
        }
        let (token, expires_at_s) = self.token();
        let by_message = self.chance.percent(30);
        let (to_server, mut incoming) = mpsc::unbounded_channel();
        let incoming = futures_util::stream::poll_fn(move |cx| incoming.poll_recv(cx));
        let peer = Peer {
            address: None,
            user_agent: None,
            connected_at: self.network.world.clock.wall(),
        };
        let token_first = (!by_message).then_some(token.as_str());
        let from_server = start_over(process.sessions, token_first, peer, incoming)?;
        let (world, user) = (&self.network.world, self.user);
        let now_us = world.now_us();
        let index = {
            let sessions = &mut world.lock().oracle.sessions;
            sessions.push(SessionRecord::open(user, now_us));
            sessions.len() - 1
        };
        note!(world, "session {index} of user {user} opens");
        let from_server = Box::pin(from_server);
        let (codec, unread) = (Codec::new().client_mode(), BytesMut::new());
        let number = process.number;
        let mut connection = Connection {
            index,
            process: number,
            to_server,
            from_server,
            codec,
            unread,
            expires_at_s,
        };
        if by_message {
            connection.say(format!(r#"{{"type":"auth","token":"{token}"}}"#));
        }
        self.set_prompt(&connection, self.slow_ms == 0);
        Some(connection)
    }

    fn set_prompt(&self, connection: &Connection, is_prompt: bool) {
        self.network.world.check(|oracle, now_us| {
            oracle.sessions[connection.index].set_prompt(is_prompt, now_us);
            Ok(())
        });
    }

    /// Reads and does as it is told until the connection is over.
    async fn stay(&mut self, connection: &mut Connection) -> Ending {
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => {
                        if let Some(ending) = self.obey(command, connection).await {
                            return ending;
                        }
                    }
                    None => return Ending::StayAway,
                },
                bytes = connection.from_server.next() => match bytes {
                    Some(Ok(bytes)) => {
                        connection.unread.extend_from_slice(&bytes);
                        if let Some(ending) = self.read(connection).await {
                            return ending;
                        }
                    }
                    Some(Err(_)) | None => return Ending::ComeBack,
                },
            }
        }
    }

    async fn read(&mut self, connection: &mut Connection) -> Option<Ending> {
        while let Some(frame) = connection
            .codec
            .decode(&mut connection.unread)
            .expect("the service sends good frames")
        {
            if self.slow_ms > 0 {
                sleep(Duration::from_millis(self.slow_ms)).await;
            }
            match frame {
                Frame::Text(text) => self.see(connection, &text),
                Frame::Ping(_) if self.is_silent => {}
                Frame::Ping(bytes) => connection.send(Message::Pong(bytes)),
                Frame::Close(reason) => return Some(self.closed(connection, reason)),
                Frame::Pong(_) => {}
                Frame::Binary(_) | Frame::Continuation(_) => {
                    self.network.world.violation("a frame that is no text")
                }
            }
        }
        None
    }

    fn see(&self, connection: &Connection, text: &[u8]) {
        let (world, index) = (&self.network.world, connection.index);
        let text = String::from_utf8_lossy(text);
        note!(world, "session {index} <- {text}");
        match serde_json::from_str::<Value>(&text) {
            Ok(frame) => world.check(|oracle, now_us| oracle.frame(index, &frame, now_us)),
            Err(_) => world.violation(&format!("session {index}: no JSON: {text}")),
        }
    }

    /// Whether there is a reason for this close frame, and whether to come back.
    fn closed(&self, connection: &Connection, reason: Option<CloseReason>) -> Ending {
        let world = &self.network.world;
        let code = reason.map_or(1005, |reason| u16::from(reason.code));
        note!(world, "session {} is closed with {code}", connection.index);
        let process = self.network.process();
        let is_stopping = process.number != connection.process || process.sessions.is_stopping();
        let lately_us = world.now_us().saturating_sub(1_000_000);
        let open =
            |record: &&SessionRecord| record.user == self.user && record.was_open_since(lately_us);
        let is_due = match code {
            1001 => is_stopping || world.lock().oracle.is_of_the_past(connection.index),
            4408 => true,
            4501 => connection.expires_at_s <= world.clock.now_s(),
            4509 => {
                let sessions = &world.lock().oracle.sessions;
                let is_prompt =
                    sessions[connection.index].has_been_prompt_for(1_000_000, world.now_us());
                !is_prompt || sessions.iter().filter(open).count() > SESSIONS_PER_USER_MAX
            }
            _ => false,
        };
        if !is_due {
            world.violation(&format!(
                "session {} was closed with {code} for no reason",
                connection.index
            ));
        }
        if code == 4509 {
            Ending::StayAway
        } else {
            Ending::ComeBack
        }
    }

    async fn obey(&mut self, command: Command, connection: &mut Connection) -> Option<Ending> {
        let (world, index) = (self.network.world.clone(), connection.index);
        note!(world, "session {index}: {command:?}");
        self.ids += 1;
        let id = self.ids;
        let with_record = |change: &dyn Fn(&mut SessionRecord, u64)| {
            world.check(|oracle, now_us| {
                change(&mut oracle.sessions[index], now_us);
                Ok(())
            });
        };
        match command {
            Command::Refresh => {
                with_record(&|record, now_us| record.asks(id, now_us));
                connection.say(format!(r#"{{"type":"refresh","id":{id}}}"#));
            }
            Command::Ping => {
                with_record(&|record, _| {
                    record.pings.insert(id);
                });
                connection.say(format!(r#"{{"type":"ping","id":{id}}}"#));
            }
            Command::Displayed => {
                let version = world.lock().oracle.sessions[index].version;
                connection.say(format!(r#"{{"type":"displayed","version":{version}}}"#));
            }
            Command::Authenticate => {
                let (token, expires_at_s) = self.token();
                connection.expires_at_s = connection.expires_at_s.min(expires_at_s);
                connection.say(format!(r#"{{"type":"auth","token":"{token}"}}"#));
            }
            Command::Garbage if world.lock().oracle.sessions[index].garbage < 3 => {
                with_record(&|record, _| {
                    record.bad_messages += 1;
                    record.garbage += 1;
                });
                connection.say(r#"{"type":"what"}"#.to_owned());
            }
            Command::Garbage => {}
            Command::Slow(milliseconds) => {
                self.slow_ms = milliseconds;
                self.set_prompt(connection, milliseconds == 0);
            }
            Command::Silent(is_silent) => self.is_silent = is_silent,
            Command::Calm => {
                (self.slow_ms, self.is_silent) = (0, false);
                self.set_prompt(connection, true);
            }
            Command::Stall(milliseconds) => return self.stall(milliseconds, connection).await,
            Command::Drop => return Some(Ending::ComeBack),
            Command::Orphaned if connection.process < self.network.process().number => {
                return Some(Ending::ComeBack);
            }
            Command::Orphaned => {}
            Command::Leave => {
                connection.send(Message::Close(None));
                return Some(Ending::StayAway);
            }
        }
        None
    }

    /// Reads nothing; past the write time-out the kernel ends the connection.
    async fn stall(&mut self, milliseconds: u64, connection: &Connection) -> Option<Ending> {
        self.set_prompt(connection, false);
        let until = Instant::now() + Duration::from_millis(milliseconds.min(WRITE_TIMEOUT_MS));
        sleep_until(until).await;
        if milliseconds > WRITE_TIMEOUT_MS {
            return Some(Ending::ComeBack);
        }
        self.set_prompt(connection, self.slow_ms == 0);
        None
    }
}

impl Connection {
    fn say(&mut self, text: String) {
        self.send(Message::Text(text.into()));
    }

    fn send(&mut self, message: Message) {
        let mut bytes = BytesMut::new();
        self.codec
            .encode(message, &mut bytes)
            .expect("a good message");
        // The session may have ended.
        let _ = self.to_server.send(Ok(bytes.freeze()));
    }
}
