//! Clients of a TLS server that are at an address of their choice: whatever a test connects to the tunnel goes on in TLS.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use openssl::ssl::{ErrorCode, SslConnector, SslMethod, SslStream};
use openssl::x509::X509;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running tunnel; its connections end with it.
pub struct TlsTunnel {
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for TlsTunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a tunnel leads.
#[derive(Clone)]
struct Way {
    from: IpAddr,
    to: SocketAddr,
    name: &'static str,
    connector: SslConnector,
}

impl TlsTunnel {
    /// Listens on a free port. Each connection goes on to `to` from the address `from`, in TLS for the server `name`, whose
    /// certificate must be by `authority`.
    pub async fn start(from: IpAddr, to: SocketAddr, name: &'static str, authority: &X509) -> Self {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        let store = connector.cert_store_mut();
        store.add_cert(authority.clone()).expect("a certificate");
        let way = Way {
            from,
            to,
            name,
            connector: connector.build(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let task = tokio::spawn(accept(listener, way));
        Self { addr, task }
    }
}

async fn accept(listener: TcpListener, way: Way) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let way = way.clone();
                connections.spawn(async move {
                    // Ignore errors: both connections end, which the test sees.
                    if let Err(error) = way.serve(client).await {
                        eprintln!("TLS to {} from {}: {error}", way.to, way.from);
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Way {
    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::new(self.from, 0))?;
        let stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Copies in both directions until one of them ends.
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut server = self.connect().await?;
        let mut ssl = self.connector.configure()?.into_ssl(self.name)?;
        ssl.set_connect_state();
        let mut tls = SslStream::new(ssl, Wire::default())?;
        let (mut unsent, mut buffer) = (Vec::new(), vec![0; 16_384]);
        loop {
            let is_over = take(&mut tls, &mut buffer, &mut client).await?;
            give(&mut tls, &mut unsent)?;
            let sealed = std::mem::take(&mut tls.get_mut().outgoing);
            server.write_all(&sealed).await?;
            if is_over {
                return client.shutdown().await;
            }
            let mut sealed = [0; 16_384];
            tokio::select! {
                read = client.read(&mut buffer), if unsent.is_empty() => match read? {
                    0 => return server.shutdown().await,
                    count => unsent.extend(&buffer[..count]),
                },
                read = server.read(&mut sealed) => match read? {
                    0 => tls.get_mut().is_ended = true,
                    count => tls.get_mut().incoming.extend(&sealed[..count]),
                },
            }
        }
    }
}

/// Opens what has come from the server, and hands it to the client; true at its end.
async fn take(
    tls: &mut SslStream<Wire>,
    buffer: &mut [u8],
    client: &mut TcpStream,
) -> io::Result<bool> {
    loop {
        match tls.ssl_read(buffer) {
            Ok(0) => return Ok(true),
            Ok(count) => client.write_all(&buffer[..count]).await?,
            Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(false),
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => return Ok(true),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Seals what the client has sent, as soon as the handshake is over.
fn give(tls: &mut SslStream<Wire>, unsent: &mut Vec<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        match tls.ssl_write(unsent) {
            Ok(count) => drop(unsent.drain(..count)),
            Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(())
}

/// What the TLS library reads and writes, in memory.
#[derive(Debug, Default)]
struct Wire {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    is_ended: bool,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() && !self.is_ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
