//! A reader of a service that may not be running.

use std::net::SocketAddr;

use super::{Answer, Signed, TestApp, Ws, client::Sender, token};

/// Reads balances over HTTP as a back end and as a browser, and opens sessions.
#[derive(Debug, Clone)]
pub struct Visitor {
    http: reqwest::Client,
    public: SocketAddr,
    backend: Sender,
}

impl TestApp {
    /// A separate reader.
    pub fn visitor(&self) -> Visitor {
        Visitor {
            http: self.http.clone(),
            public: self.public,
            backend: self.sender(),
        }
    }
}

impl Visitor {
    /// A back end's signed GET.
    ///
    /// # Errors
    /// When the service is not running, or ends before it has answered.
    pub async fn backend(&self, path: &str) -> Result<Answer, reqwest::Error> {
        self.backend.try_send(Signed::get(path)).await
    }

    /// A browser's GET as a user.
    ///
    /// # Errors
    /// When the service is not running, or ends before it has answered.
    pub async fn browser(&self, path: &str, user_id: u64) -> Result<Answer, reqwest::Error> {
        let request = self
            .http
            .get(format!("http://{}{path}", self.public))
            .bearer_auth(token(user_id));
        Answer::read(request.send().await?).await
    }

    /// An unread session of a user; `None` when the service is not running.
    ///
    /// # Panics
    /// When it is refused for a reason other than a stopping service.
    pub async fn session(&self, user_id: u64) -> Option<Ws> {
        let bearer = format!("Bearer {}", token(user_id));
        let headers = [
            ("authorization", bearer.as_str()),
            ("sec-websocket-protocol", "balance.v1"),
        ];
        match Ws::dial(self.public, &headers).await.ok()? {
            Ok(ws) => Some(ws),
            Err(refusal) => {
                assert_eq!(refusal.status, 503, "{refusal:?}");
                None
            }
        }
    }
}
