//! The HTTP client of what looks at a service from outside: commands, the canary, the bench of development. Knows TLS, and
//! nothing of what is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use awc::{Client, Connector, SendClientRequest};
use bytes::Bytes;
use openssl::ssl::{SslConnector, SslMethod};

/// Of an answer that nobody expected, so much is told.
const EXCERPT_BYTES_MAX: usize = 400;

/// Where systems keep the authorities that they trust.
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
            // Without authorities no certificate is trusted, and the first request says so.
            let _ = tls.set_ca_file(file);
        }
        tls.build()
    });
    with(tls.ok(), patience)
}

/// A client for `http://` alone, which is made at once: no authorities are read.
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
    // A connection of its own for each request: none is tried on one that the service is about to close.
    Client::builder()
        .timeout(patience)
        .connector(connector)
        .add_default_header(("connection", "close"))
        .finish()
}

/// A whole exchange: the status and the body, or in words why there is none. The client's own patience ends with the head of
/// an answer; this one does not wait longer for a body that trickles either.
///
/// # Errors
/// In words.
pub async fn exchange(
    sending: SendClientRequest,
    patience: Duration,
    bytes_max: usize,
) -> Result<(u16, Bytes), String> {
    let exchange = async {
        let mut answer = sending.await.map_err(|error| error.to_string())?;
        let body = answer
            .body()
            .limit(bytes_max)
            .await
            .map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), body))
    };
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no whole answer within {patience:?}")))
}

/// The beginning of what somebody else said, on one line.
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
