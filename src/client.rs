//! The HTTP client of the commands that look at a running service from outside. Knows TLS, and nothing of what is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use awc::{Client, Connector};
use openssl::ssl::{SslConnector, SslMethod};

/// Where systems keep the authorities that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client whose every step takes at most `patience`. It trusts the system's authorities, or those in `SSL_CERT_FILE`.
pub fn client(patience: Duration) -> Client {
    let mut connector = Connector::new().timeout(patience).handshake_timeout(patience);
    if let Ok(mut tls) = SslConnector::builder(SslMethod::tls_client()) {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let known = || AUTHORITIES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
        if let Some(file) = named.or_else(known) {
            // Without authorities no certificate is trusted, and the first request says so.
            let _ = tls.set_ca_file(file);
        }
        connector = connector.openssl(tls.build());
    }
    // A connection of its own for each request: none is tried on one that the service is about to close.
    Client::builder().timeout(patience).connector(connector).add_default_header(("connection", "close")).finish()
}
