//! The HTTP client of the parts that use the service from outside: commands, the canary, the bench of development.
//! Speaks HTTP/1.1 with or without TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use awc::http::header::HeaderMap;
use awc::{Client, Connector, SendClientRequest};
use bytes::Bytes;
use openssl::ssl::{SslConnector, SslMethod};

/// The most bytes of an unexpected answer that an error shows.
const EXCERPT_BYTES_MAX: usize = 400;

/// The files in which systems keep the certificate authorities that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client whose every step takes at most `patience`. It trusts the system's authorities, or those in `SSL_CERT_FILE`.
pub fn client(patience: Duration) -> Client {
    let tls = SslConnector::builder(SslMethod::tls_client()).map(|mut tls| {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let known = || {
            AUTHORITIES
                .iter()
                .map(Path::new)
                .find(|path| path.exists())
                .map(Path::to_owned)
        };
        if let Some(file) = named.or_else(known) {
            // If this fails, no certificate is trusted, and the first request says so.
            let _ = tls.set_ca_file(file);
        }
        // HTTP/1.1 alone: `awc` links h2 0.3, whose known flaw is repaired in 0.4 alone, and so must not use it. If
        // this fails, no protocol is negotiated, which is HTTP/1.1, too.
        let _ = tls.set_alpn_protos(b"\x08http/1.1");
        tls.build()
    });
    with(tls.ok(), patience)
}

/// A client for `http://` alone. Cheap to make: no authorities are read.
pub fn plain_client(patience: Duration) -> Client {
    with(None, patience)
}

fn with(tls: Option<SslConnector>, patience: Duration) -> Client {
    let connector = Connector::new()
        .timeout(patience)
        .handshake_timeout(patience);
    let connector = match tls {
        Some(tls) => connector.openssl(tls),
        None => connector,
    };
    // Each request has its own connection, so none is sent on one that the service is about to close.
    Client::builder()
        .timeout(patience)
        .connector(connector)
        .add_default_header(("connection", "close"))
        .finish()
}

/// A whole answer.
#[derive(Debug)]
pub struct WholeAnswer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Sends a request, and returns the status and the body: see [`answer`].
///
/// # Errors
/// Why there is no whole answer, in words.
pub async fn exchange(
    sending: SendClientRequest,
    patience: Duration,
    bytes_max: usize,
) -> Result<(u16, Bytes), String> {
    let answer = answer(sending, patience, bytes_max).await?;
    Ok((answer.status, answer.body))
}

/// Sends a request, and returns the whole answer. The client's own time-out ends with the head of the answer; `patience`
/// bounds the body, too.
///
/// # Errors
/// Why there is no whole answer, in words.
pub async fn answer(
    sending: SendClientRequest,
    patience: Duration,
    bytes_max: usize,
) -> Result<WholeAnswer, String> {
    let exchange = async {
        let mut answer = sending.await.map_err(|error| error.to_string())?;
        let body = answer
            .body()
            .limit(bytes_max)
            .await
            .map_err(|error| error.to_string())?;
        Ok(WholeAnswer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body,
        })
    };
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no whole answer within {patience:?}")))
}

/// The beginning of a foreign text, on one line.
pub fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(EXCERPT_BYTES_MAX)]);
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt(b" a\r\n\tb\x1b[31m \xff\n"), "a b [31m \u{fffd}");
        assert!(excerpt(&[b'x'; 100_000]).len() <= EXCERPT_BYTES_MAX);
    }
}
