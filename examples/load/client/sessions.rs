//! One WebSocket of the crowd: handshake, frames in, pongs out, with very little memory.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::clock::{Stamps, now_us};
use super::frames::{self, Push, Raw, Told};
use super::told::{Expected, Measures};
use crate::Result;

/// Loopback source addresses, so that there are enough ports, also right after a restart.
const SOURCES: usize = 16;

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Connecting,
    Handshake,
    Open,
    Closed,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    pub stream: TcpStream,
    pub stage: Stage,
    pub last_version: i64,
    last_push_us: i64,
    rest: Vec<u8>,
}

/// Shared by sessions while their events are handled.
pub struct Desk<'a> {
    pub measures: &'a mut Measures,
    pub stamps: &'a mut Stamps,
    pub scratch: &'a mut [u8],
    pub expected: &'a Expected,
}

impl Session {
    /// Starts to connect.
    pub fn begin(address: SocketAddr, index: usize) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if address.ip().is_loopback() {
            let host = u8::try_from(index % SOURCES)? + 2;
            socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            // EINPROGRESS
            Err(error) if error.raw_os_error() == Some(115) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from_std(socket.into());
        Ok(Self {
            stream,
            stage: Stage::Connecting,
            last_version: -1,
            last_push_us: 0,
            rest: Vec::new(),
        })
    }

    /// Sends the handshake once it is connected. Returns whether it was sent.
    pub fn greet(&mut self, request: &[u8]) -> bool {
        if self.stage != Stage::Connecting || self.stream.peer_addr().is_err() {
            return false;
        }
        self.stage = Stage::Handshake;
        // A new socket accepts a few hundred bytes at once.
        self.stream
            .write(request)
            .is_ok_and(|count| count == request.len())
    }

    /// Sends a text frame; one that a full socket does not accept is dropped and counted.
    pub fn say(&mut self, text: &[u8]) -> bool {
        let frame = frames::masked(1, text);
        self.stage == Stage::Open
            && self
                .stream
                .write(&frame)
                .is_ok_and(|count| count == frame.len())
    }

    /// Reads available bytes. `false` when the connection has ended.
    pub fn read(&mut self, index: usize, desk: &mut Desk<'_>) -> bool {
        loop {
            match self.stream.read(desk.scratch) {
                Ok(0) => return false,
                Ok(count) => {
                    let is_all = count < desk.scratch.len();
                    if !self.take(index, count, desk) {
                        return false;
                    }
                    if is_all {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn take(&mut self, index: usize, count: usize, desk: &mut Desk<'_>) -> bool {
        let joined;
        let scratch = std::mem::take(&mut desk.scratch);
        let bytes = if self.rest.is_empty() {
            &scratch[..count]
        } else {
            joined = [&std::mem::take(&mut self.rest), &scratch[..count]].concat();
            &joined[..]
        };
        let is_alive = self.parse(index, bytes, desk);
        desk.scratch = scratch;
        is_alive
    }

    fn parse(&mut self, index: usize, mut bytes: &[u8], desk: &mut Desk<'_>) -> bool {
        if self.stage == Stage::Handshake {
            let Some(end) = super::http::find(bytes, b"\r\n\r\n") else {
                self.rest = bytes.to_vec();
                return true;
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                desk.measures.refused += 1;
                return false;
            }
            self.stage = Stage::Open;
            desk.measures.opened += 1;
            bytes = &bytes[end + 4..];
        }
        while let Some((frame, len)) = frames::next(bytes) {
            match frame {
                Raw::Text(text) => self.told(index, text, desk),
                Raw::Ping(payload) => {
                    desk.measures.pings += 1;
                    if self.stream.write(&frames::masked(10, payload)).is_err() {
                        return false;
                    }
                }
                Raw::Close => return false,
                Raw::Other => {}
            }
            bytes = &bytes[len..];
        }
        if !bytes.is_empty() {
            self.rest = bytes.to_vec();
        }
        true
    }

    fn told(&mut self, index: usize, text: &[u8], desk: &mut Desk<'_>) {
        let measures = &mut *desk.measures;
        measures.frames += 1;
        match frames::read(text, desk.stamps) {
            Some(Told::Push(push)) => {
                measures.push_bytes += text.len() as u64;
                measures.is_misordered |= push.version <= self.last_version;
                self.note(index, &push, measures, desk.expected);
                self.last_version = push.version;
                measures.versions[index] = push.version;
            }
            Some(Told::Balance { version }) => {
                measures.snapshots += u64::from(self.last_version < 0);
                measures.is_misordered |= version < self.last_version;
                self.last_version = version;
                measures.versions[index] = version;
            }
            Some(Told::Other) => {}
            None => measures.unreadable += 1,
        }
    }

    fn note(&mut self, index: usize, push: &Push, measures: &mut Measures, expected: &Expected) {
        let now_us = now_us();
        let since = |then_us: i64| u64::try_from(now_us - then_us).unwrap_or(0);
        if push.is_direct {
            measures.direct += 1;
            measures
                .commit_to_frame
                .saturating_record(since(push.committed_us));
            measures
                .push_to_frame
                .saturating_record(since(push.pushed_us));
            let sent_us = expected.sent_us(index);
            if sent_us > 0 {
                measures.webhook_to_frame.saturating_record(since(sent_us));
            }
            let gap_us = push.pushed_us - self.last_push_us;
            if self.last_push_us > 0 && gap_us < expected.direct_interval_us {
                measures.too_soon += 1;
            }
            let due_us = push
                .first_committed_us
                .max(self.last_push_us + expected.direct_interval_us);
            measures.direct_lateness.saturating_record(since(due_us));
        } else {
            measures.paced += 1;
            measures
                .paced_push_to_frame
                .saturating_record(since(push.pushed_us));
            let settled_us = push.committed_us + expected.debounce_us;
            let longest_us = push.first_committed_us + expected.min_interval_us;
            let due_us = settled_us
                .min(longest_us)
                .max(self.last_push_us + expected.min_interval_us);
            measures.paced_lateness.saturating_record(since(due_us));
        }
        self.last_push_us = push.pushed_us;
    }
}
