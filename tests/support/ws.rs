//! A WebSocket client that waits for expected frames, with a time limit.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async};

use super::{Answer, PATIENCE, TestApp, token};

/// What a session receives.
#[derive(Debug, Clone)]
pub enum Event {
    Frame(Value),
    Closed {
        code: u16,
        reason: String,
    },
    /// The connection ended without a close frame.
    Broken,
}

/// An open WebSocket.
pub struct Ws {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
}

impl TestApp {
    /// Opens `/ws` with these headers, or returns the refusal.
    pub async fn try_ws(&self, headers: &[(&'static str, &str)]) -> Result<Ws, Answer> {
        match Ws::dial(self.public, headers).await {
            Ok(opened) => opened,
            Err(error) => panic!("no WebSocket: {error}"),
        }
    }

    /// Opens `/ws` with these headers.
    pub async fn ws(&self, headers: &[(&'static str, &str)]) -> Ws {
        self.try_ws(headers)
            .await
            .unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Opens `/ws` for a user by a bearer token, without reading.
    pub async fn ws_of(&self, user_id: u64) -> Ws {
        self.ws(&[
            ("authorization", &format!("Bearer {}", token(user_id))),
            ("sec-websocket-protocol", "balance.v1"),
        ])
        .await
    }

    /// A session of a user, and the snapshot it began with.
    pub async fn session(&self, user_id: u64) -> (Ws, Value) {
        let mut ws = self.ws_of(user_id).await;
        ws.next_frame("hello").await;
        let snapshot = ws.next_frame("balance").await;
        assert_eq!(snapshot["reason"], "snapshot", "{snapshot}");
        (ws, snapshot)
    }
}

impl Ws {
    /// Opens `/ws` of a service that may not be running, or returns the refusal.
    ///
    /// # Errors
    /// When the service is not running, or ends before it has answered.
    pub async fn dial(
        public: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Result<Self, Answer>, Error> {
        Self::dial_as(&public.to_string(), public, headers).await
    }

    /// The same with another `Host` than the address.
    ///
    /// # Errors
    /// When the service is not running, or ends before it has answered.
    pub async fn dial_as(
        host: &str,
        public: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Result<Self, Answer>, Error> {
        let mut request = format!("ws://{host}/ws")
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request
                .headers_mut()
                .append(*name, HeaderValue::from_str(value).expect("ASCII"));
        }
        let dialled = async {
            let stream = TcpStream::connect(public).await?;
            client_async(request, MaybeTlsStream::Plain(stream)).await
        };
        match timeout(PATIENCE, dialled).await.expect("an answer in time") {
            Ok((stream, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().expect("ASCII").to_owned());
                Ok(Ok(Self { stream, protocol }))
            }
            Err(Error::Http(response)) => {
                let text = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default())
                    .into_owned();
                let mut headers = reqwest::header::HeaderMap::new();
                for (name, value) in response.headers() {
                    headers.append(name.clone(), value.clone());
                }
                Ok(Err(Answer {
                    status: response.status().as_u16(),
                    headers,
                    text,
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// The next frame or the end; answers pings, skips pings and pongs.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Event> {
        let read = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let frame =
                            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
                        return Event::Frame(frame);
                    }
                    Some(Ok(Message::Close(Some(close)))) => {
                        return Event::Closed {
                            code: close.code.into(),
                            reason: close.reason.to_string(),
                        };
                    }
                    Some(Ok(Message::Close(None))) => {
                        return Event::Closed {
                            code: 1005,
                            reason: String::new(),
                        };
                    }
                    Some(Ok(Message::Binary(bytes))) => panic!("a binary frame: {bytes:?}"),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Event::Broken,
                }
            }
        };
        timeout(patience, read).await.ok()
    }

    /// The next frame or the end.
    pub async fn next(&mut self) -> Event {
        self.next_within(PATIENCE)
            .await
            .unwrap_or_else(|| panic!("nothing came within {PATIENCE:?}"))
    }

    /// The very next frame, which must be of this type.
    pub async fn next_frame(&mut self, frame_type: &str) -> Value {
        match self.next().await {
            Event::Frame(frame) if frame["type"] == frame_type => frame,
            other => panic!("expected {frame_type}, came {other:?}"),
        }
    }

    /// The close code and reason; skips frames before it.
    pub async fn closed(&mut self) -> (u16, String) {
        for _ in 0..10_000 {
            match self.next().await {
                Event::Closed { code, reason } => return (code, reason),
                Event::Frame(_) => {}
                Event::Broken => panic!("the connection broke without a close frame"),
            }
        }
        panic!("frames without an end");
    }

    /// Asserts the close code and reason.
    pub async fn assert_closed(&mut self, code: u16, reason: &str) {
        assert_eq!(self.closed().await, (code, reason.to_owned()));
    }

    /// Sends a text frame.
    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends any frame.
    pub async fn send(&mut self, message: Message) {
        self.stream.send(message).await.expect("sent");
    }

    /// Sends one of several texts; returns whether the peer accepted it.
    pub async fn try_send(&mut self, message: Message) -> bool {
        self.stream.send(message).await.is_ok()
    }

    /// Sends JSON.
    pub async fn send_json(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a refresh and returns the next frame, which must be the answer.
    pub async fn refresh(&mut self, id: Value) -> Value {
        self.send_json(json!({"type": "refresh", "id": id})).await;
        let balance = self.next_frame("balance").await;
        assert_eq!(
            (&balance["reason"], &balance["id"]),
            (&json!("refresh"), &id),
            "{balance}"
        );
        balance
    }

    /// Asserts that no frame is pending: the next frame must answer a ping.
    pub async fn assert_quiet(&mut self) {
        self.send_json(json!({"type": "ping", "id": "quiet?"}))
            .await;
        let pong = self.next_frame("pong").await;
        assert_eq!(pong["id"], "quiet?");
    }

    /// Closes in the orderly way.
    pub async fn close(mut self) {
        let _ = timeout(PATIENCE, self.stream.close(None)).await;
    }
}
