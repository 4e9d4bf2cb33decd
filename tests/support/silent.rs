//! A raw WebSocket peer over TCP that sends any bytes and answers no pings.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, TestApp, token};

/// A connection that went through the upgrade.
pub struct SilentPeer {
    stream: TcpStream,
}

impl TestApp {
    /// Opens `/ws` for a user by hand.
    pub async fn silent_peer(&self, user_id: u64) -> SilentPeer {
        let mut stream = TcpStream::connect(self.public).await.expect("it connects");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: balance.v1\r\nAuthorization: Bearer {}\r\n\r\n",
            self.public,
            token(user_id)
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, stream.read_u8())
                .await
                .expect("in time")
                .expect("a byte");
            head.push(byte);
            assert!(head.len() < 16_384, "a head without an end");
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        SilentPeer { stream }
    }
}

impl SilentPeer {
    /// Sends a frame, masked with zeros: `first` is its first byte (FIN and opcode).
    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        assert!(payload.len() < 126, "short frames only");
        let length = 0x80 | u8::try_from(payload.len()).expect("checked");
        let frame = [&[first, length, 0, 0, 0, 0], payload].concat();
        self.stream.write_all(&frame).await.expect("sent");
    }

    /// Sends the same text repeatedly without reading, until a send takes a second or the
    /// connection ends; returns the number sent.
    pub async fn send_until_refused(&mut self, text: &[u8], times: usize) -> usize {
        let length = u16::try_from(text.len())
            .expect("below 64 KiB")
            .to_be_bytes();
        let frame = [&[0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0], text].concat();
        for sent in 0..times {
            let written = timeout(
                std::time::Duration::from_secs(1),
                self.stream.write_all(&frame),
            )
            .await;
            if !matches!(written, Ok(Ok(()))) {
                return sent;
            }
        }
        times
    }

    /// The next frame: opcode and payload; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(PATIENCE, self.read_frame())
            .await
            .expect("a frame or the end in time")
    }

    async fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let opcode = self.stream.read_u8().await.ok()? & 0x0f;
        let length = match self.stream.read_u8().await.ok()? & 0x7f {
            126 => usize::from(self.stream.read_u16().await.ok()?),
            127 => panic!("a frame longer than 64 KiB"),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((opcode, payload))
    }

    /// The code and reason of the close frame; skips everything before it, and answers no pings.
    pub async fn closed(&mut self) -> (u16, String) {
        for _ in 0..10_000 {
            match self.next().await {
                Some((8, payload)) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8_lossy(&payload[2..]).into_owned());
                }
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
        panic!("frames without an end");
    }
}
