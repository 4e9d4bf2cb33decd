//! An answer of the service, with checks for success and refusal.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// Status, headers and body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Errors
    /// When the connection breaks first.
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self {
            status,
            headers,
            text: response.text().await?,
        })
    }

    /// A header as text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body of a 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        assert!(
            self.header("content-type").starts_with("application/json"),
            "{self:?}"
        );
        self.json()
    }

    /// The body of a refusal, which must be a whole problem document with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{code} expected: {}", self.text);
        assert_eq!(
            self.header("content-type").split(';').next(),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for key in ["type", "title", "detail"] {
            assert!(
                problem[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key} in {problem}"
            );
        }
        let kind = problem["type"].as_str().expect("checked");
        assert!(
            kind == "about:blank" || kind.ends_with(&format!("/problems/{code}")),
            "{problem}"
        );
        if matches!(status, 429 | 503) {
            let retry_after = self.header("retry-after").parse::<u64>();
            assert!(
                retry_after.is_ok_and(|seconds| seconds > 0),
                "Retry-After in {self:?}"
            );
        }
        problem
    }
}
