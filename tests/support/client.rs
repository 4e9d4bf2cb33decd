//! HTTP clients: a sender of signed webhooks, a browser, an administrator.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::{ADMIN_TOKEN, Answer, TestApp, WEBHOOK_SECRET, now_s, sign};

/// A signed request; tests can damage any part.
#[derive(Debug, Clone)]
pub struct Signed {
    method: Method,
    path: String,
    body: Vec<u8>,
    id: String,
    timestamp: String,
    secret: String,
    /// Replaces the valid value.
    signature: Option<String>,
    content_type: Option<String>,
    omitted: Vec<&'static str>,
    /// Besides those that are signed.
    headers: Vec<(&'static str, String)>,
}

impl Signed {
    /// A POST of JSON.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new(Method::POST, path).body(body.to_string())
    }

    /// A GET, signed over the empty body.
    pub fn get(path: &str) -> Self {
        Self {
            content_type: None,
            ..Self::new(Method::GET, path)
        }
    }

    /// Any method.
    pub fn new(method: Method, path: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self {
            method,
            path: path.to_owned(),
            body: Vec::new(),
            id: format!("msg_{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            timestamp: now_s().to_string(),
            secret: WEBHOOK_SECRET.to_owned(),
            signature: None,
            content_type: Some("application/json".to_owned()),
            omitted: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    pub fn id(self, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..self
        }
    }

    pub fn timestamp(self, timestamp: impl ToString) -> Self {
        Self {
            timestamp: timestamp.to_string(),
            ..self
        }
    }

    pub fn secret(self, secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            ..self
        }
    }

    pub fn signature(self, signature: impl Into<String>) -> Self {
        Self {
            signature: Some(signature.into()),
            ..self
        }
    }

    pub fn content_type(self, content_type: Option<&str>) -> Self {
        Self {
            content_type: content_type.map(str::to_owned),
            ..self
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, header: &'static str) -> Self {
        self.omitted.push(header);
        self
    }

    /// The valid signature.
    pub fn right_signature(&self) -> String {
        sign(&self.secret, &self.id, &self.timestamp, &self.body)
    }
}

/// A sender of webhooks; the service need not be running.
#[derive(Debug, Clone)]
pub struct Sender {
    http: reqwest::Client,
    internal: std::net::SocketAddr,
}

impl Sender {
    /// Sends a signed request; an error without a complete answer.
    ///
    /// # Errors
    /// When the service is not running, or ends before it has answered.
    pub async fn try_send(&self, request: Signed) -> Result<Answer, reqwest::Error> {
        let signature = request
            .signature
            .clone()
            .unwrap_or_else(|| request.right_signature());
        let mut sent = self.http.request(
            request.method,
            format!("http://{}{}", self.internal, request.path),
        );
        let headers = [
            ("webhook-id", Some(request.id)),
            ("webhook-timestamp", Some(request.timestamp)),
            ("webhook-signature", Some(signature)),
            ("content-type", request.content_type),
        ];
        for (name, value) in headers {
            if let Some(value) = value
                && !request.omitted.contains(&name)
            {
                sent = sent.header(name, value);
            }
        }
        for (name, value) in request.headers {
            sent = sent.header(name, value);
        }
        Answer::read(sent.body(request.body).send().await?).await
    }

    /// Sends until it is acknowledged, also when the service is killed meanwhile.
    ///
    /// # Panics
    /// When it is refused finally, or never acknowledged.
    pub async fn insist(&self, request: Signed) -> Value {
        let start = std::time::Instant::now();
        while start.elapsed() < 3 * super::PATIENCE {
            match self.try_send(request.clone()).await {
                Ok(answer) if answer.status == 200 => return answer.ok(),
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(_) => {}
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("never acknowledged: {request:?}");
    }
}

impl TestApp {
    /// A separate sender.
    pub fn sender(&self) -> Sender {
        Sender {
            http: self.http.clone(),
            internal: self.internal,
        }
    }

    /// A sender of webhooks to a load balancer in front of the service.
    pub fn sender_to(&self, internal: std::net::SocketAddr) -> Sender {
        Sender {
            internal,
            ..self.sender()
        }
    }

    /// Sends a signed request; an error without a complete answer.
    ///
    /// # Errors
    /// When the service ends before it has answered.
    pub async fn try_send(&self, request: Signed) -> Result<Answer, reqwest::Error> {
        self.sender().try_send(request).await
    }

    /// Sends a signed request.
    pub async fn send(&self, request: Signed) -> Answer {
        self.try_send(request)
            .await
            .unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Posts one entry: `what` is `deposits`, `rewards`, `withdrawals` or `adjustments`.
    pub async fn post(&self, what: &str, body: Value) -> Answer {
        self.send(Signed::post(&format!("/internal/v1/{what}"), &body))
            .await
    }

    /// Posts an entry in TON that must be accepted, and answers its body.
    pub async fn accepted(&self, what: &str, user_id: u64, event_id: &str, amount: &str) -> Value {
        let body =
            json!({"event_id": event_id, "user_id": user_id, "currency": "TON", "amount": amount});
        let answer = self.post(what, body).await.ok();
        assert_eq!(answer["duplicate"], false, "{answer}");
        answer
    }

    /// Posts a batch.
    pub async fn batch(&self, entries: Value) -> Answer {
        self.send(Signed::post(
            "/internal/v1/batch",
            &json!({"entries": entries}),
        ))
        .await
    }

    /// A signed GET.
    pub async fn backend(&self, path: &str) -> Answer {
        self.send(Signed::get(path)).await
    }

    /// A user's entries, newest first.
    pub async fn entries(&self, user_id: u64) -> Vec<Value> {
        let answer = self
            .backend(&format!("/internal/v1/users/{user_id}/entries?limit=1000"))
            .await
            .ok();
        answer["entries"].as_array().expect("a list").clone()
    }

    /// Any request to the public listener.
    pub fn public_request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.public))
    }

    /// A browser's GET with a session token and more headers.
    pub async fn browser(&self, path: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.public_request(Method::GET, path).bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("a whole answer")
    }

    /// A GET without any credentials.
    pub async fn plain_get(&self, addr: std::net::SocketAddr, path: &str) -> Answer {
        let response = self
            .http
            .get(format!("http://{addr}{path}"))
            .send()
            .await
            .expect("an answer");
        Answer::read(response).await.expect("a whole answer")
    }

    /// An administrator's GET.
    pub async fn admin(&self, path: &str) -> Answer {
        let request = self
            .http
            .get(format!("http://{}{path}", self.internal))
            .bearer_auth(ADMIN_TOKEN);
        Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("a whole answer")
    }

    /// An administrator's POST.
    pub async fn admin_post(&self, path: &str) -> Answer {
        let request = self
            .http
            .post(format!("http://{}{path}", self.internal))
            .bearer_auth(ADMIN_TOKEN);
        Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("a whole answer")
    }
}
