//! The HTTP client of what looks at a service from outside: commands, the canary, the bench of development. Knows TLS, and
//! nothing of what is asked.

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
    let tls = SslConnector::builder(SslMethod::tls_client()).map(|mut tls| {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let known = || AUTHORITIES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
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
    let connector = Connector::new().timeout(patience).handshake_timeout(patience);
    let connector = match tls {
        Some(tls) => connector.openssl(tls),
        None => connector,
    };
    // A connection of its own for each request: none is tried on one that the service is about to close.
    Client::builder().timeout(patience).connector(connector).add_default_header(("connection", "close")).finish()
}
