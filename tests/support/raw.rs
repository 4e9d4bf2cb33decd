//! A raw TCP peer for HTTP and WebSocket: it sends any bytes and can end in any way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{PATIENCE, token};

/// The longest head and body of an answer that is read here.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A connection and its unread bytes.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// What a WebSocket receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawFrame {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason; 1005 without any.
    Close(u16, String),
    /// The connection ended.
    End,
}

/// A client's frame: `first` is its first byte (FIN, reserved bits and opcode).
pub fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("below 126")),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).expect("below 64 KiB").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// The request that opens `/ws`, with more header lines.
pub fn upgrade_request(more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

impl Raw {
    /// Connects, from an address of this machine's loopback and with a receive buffer of a given size, if wanted.
    ///
    /// # Errors
    /// When the other side does not listen, or the system has no more sockets.
    pub async fn connect(
        to: SocketAddr,
        from: Option<IpAddr>,
        receive_bytes: Option<u32>,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = timeout(PATIENCE, socket.connect(to))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Opens a user's session; the `hello` and the snapshot are still to come.
    ///
    /// # Errors
    /// When the connection breaks.
    ///
    /// # Panics
    /// When the upgrade is refused.
    pub async fn open_session(
        to: SocketAddr,
        from: Option<IpAddr>,
        receive_bytes: Option<u32>,
        user_id: u64,
    ) -> io::Result<Self> {
        let mut raw = Self::connect(to, from, receive_bytes).await?;
        let request = upgrade_request(&format!("Authorization: Bearer {}\r\n", token(user_id)));
        raw.stream.write_all(request.as_bytes()).await?;
        let answer = raw.answer().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(answer.status, 101, "{answer:?}");
        Ok(raw)
    }

    /// Sends; returns whether it was accepted.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        matches!(
            timeout(PATIENCE, self.stream.write_all(bytes)).await,
            Ok(Ok(()))
        )
    }

    /// Sends what is accepted at once; returns the number of bytes.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.try_write(bytes).unwrap_or(0)
    }

    /// Ends the sending direction, but still reads.
    pub async fn finish(&mut self) {
        // Ignore errors: the peer may already be gone.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        // Ignore errors: the connection then ends in the orderly way.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut chunk)).await;
        match read.unwrap_or_else(|_| {
            panic!("nothing came within {PATIENCE:?}, after {:?}", self.shown())
        }) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                assert!(
                    self.received.len() <= ANSWER_BYTES_MAX,
                    "an answer without an end"
                );
                true
            }
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.received[..self.received.len().min(500)]).into_owned()
    }

    /// Waits until the peer ends the connection; returns what was received.
    pub async fn until_end(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.received)
    }

    /// Reads for this time; returns whether the connection ended.
    pub async fn ends_within(&mut self, patience: Duration) -> bool {
        timeout(patience, async { while self.more().await {} })
            .await
            .is_ok()
    }

    /// The unread bytes.
    pub fn take_received(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned()
    }

    /// Reads exactly one byte, if it comes in time.
    pub async fn dribble(&mut self) -> bool {
        timeout(PATIENCE, self.stream.read_u8())
            .await
            .is_ok_and(|byte| byte.is_ok())
    }

    /// The next HTTP answer; `None` when the connection ends first.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        let head_end = loop {
            if let Some(at) = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.received[..head_end]).into_owned();
        let status: u16 = head
            .get(9..12)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{head}"));
        let length = header(&head, "content-length")
            .map_or(0, |text| text.parse::<usize>().expect("a length"));
        if status == 100 {
            self.received.drain(..head_end);
            return Box::pin(self.answer()).await;
        }
        while self.received.len() < head_end + length {
            if !self.more().await {
                return None;
            }
        }
        let body =
            String::from_utf8_lossy(&self.received[head_end..head_end + length]).into_owned();
        self.received.drain(..head_end + length);
        Some(RawAnswer { status, head, body })
    }

    /// The next frame or the end.
    pub async fn frame(&mut self) -> RawFrame {
        loop {
            if let Some((first, payload)) = self.take_frame() {
                return match first & 0x0f {
                    1 => RawFrame::Text(String::from_utf8(payload).expect("text is UTF-8")),
                    8 if payload.is_empty() => RawFrame::Close(1005, String::new()),
                    8 => RawFrame::Close(
                        u16::from_be_bytes([payload[0], payload[1]]),
                        String::from_utf8(payload[2..].to_vec()).expect("a reason is UTF-8"),
                    ),
                    9 => RawFrame::Ping(payload),
                    10 => RawFrame::Pong(payload),
                    other => panic!("a frame of opcode {other}"),
                };
            }
            if !self.more().await {
                return RawFrame::End;
            }
        }
    }

    /// The next text frame as JSON; skips other frames.
    pub async fn json(&mut self) -> Option<serde_json::Value> {
        loop {
            match self.frame().await {
                RawFrame::Text(text) => {
                    return Some(serde_json::from_str(&text).expect("a frame is JSON"));
                }
                RawFrame::End | RawFrame::Close(..) => return None,
                RawFrame::Ping(payload) => {
                    // Ignore errors: the next read finds the end.
                    let _ = self.send(&frame(0x8a, &payload, [0; 4])).await;
                }
                RawFrame::Pong(_) => {}
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second] = *self.received.first_chunk::<2>()?;
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        let (start, length) = match second {
            126 => (
                4,
                usize::from(u16::from_be_bytes([
                    *self.received.get(2)?,
                    *self.received.get(3)?,
                ])),
            ),
            127 => panic!("a frame longer than 64 KiB"),
            short => (2, usize::from(short)),
        };
        let payload = self.received.get(start..start + length)?.to_vec();
        self.received.drain(..start + length);
        Some((first, payload))
    }
}

impl RawAnswer {
    /// The `code` of a problem document; empty for other bodies.
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the connection may be used again.
    pub fn is_last(&self) -> bool {
        let options = header(&self.head, "connection").unwrap_or_default();
        options
            .split(',')
            .any(|option| option.trim().eq_ignore_ascii_case("close"))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
