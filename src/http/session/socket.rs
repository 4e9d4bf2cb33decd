//! Connections that ask for a WebSocket. The application answers the handshake like any other request; when its answer
//! carries an [`Opening`], the connection leaves HTTP and becomes that session.
//!
//! An HTTP connection keeps its read and write buffers for its whole life, which would cost memory for thousands of idle
//! sessions. Here a buffer exists only while it holds bytes. This file does not read messages. Start at [`answer`].

use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_codec::Framed;
use actix_http::h1::{Codec, SendResponse};
use actix_http::{HttpMessage as _, Request, Response};
use actix_service::Service;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::error::PayloadError;
use actix_web::rt::net::TcpStream;
use actix_web::rt::spawn;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use socket2::SockRef;
use tokio::time::timeout;

use crate::http::connection::Connection;
use crate::http::session;
use crate::http::session::shared::Opening;
use crate::limits::LINGER_MS;

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 2048;

/// Marks a request whose connection can become a session.
pub(in crate::http) struct Upgradable;

/// Answers a request for an upgrade, and starts the session when the answer says so.
///
/// # Errors
/// When the answer could not be sent; the connection is closed then.
pub(in crate::http) async fn answer<S, B>(
    app: &S,
    request: Request,
    framed: Framed<Connection, Codec>,
) -> Result<(), actix_web::Error>
where
    S: Service<Request>,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    request.extensions_mut().insert(Upgradable);
    let mut response = match app.call(request).await {
        Ok(response) => response.into().map_into_boxed_body(),
        Err(error) => error.into(),
    };
    let opening = response.extensions_mut().remove::<Opening>();
    if opening.is_none() {
        response
            .head_mut()
            .set_connection_type(actix_http::ConnectionType::Close);
    }
    let (response, body) = response.into_parts();
    let body = to_bytes(body).await?;
    let parts = SendResponse::new(framed, response.set_body(body))
        .await?
        .into_parts();
    // Copied, so that the large buffer is freed.
    let ahead = Bytes::copy_from_slice(&parts.read_buf);
    let incoming = Incoming {
        socket: Rc::new(parts.io.into_socket()),
        ahead,
    };
    match opening {
        // Spawned, not awaited: this future is part of the HTTP connection's memory, which is freed when it returns.
        Some(opening) => drop(spawn(run(opening, incoming))),
        None => linger(incoming).await,
    }
    Ok(())
}

/// Carries bytes between a socket and its session until one of them ends.
async fn run(opening: Opening, incoming: Incoming) {
    let socket = incoming.socket.clone();
    {
        let mut outgoing = pin!(session::stream(opening, incoming));
        while let Some(Ok(bytes)) = outgoing.next().await {
            if write(&socket, bytes).await.is_err() {
                return;
            }
        }
    }
    linger(Incoming {
        socket,
        ahead: Bytes::new(),
    })
    .await;
}

async fn write(socket: &TcpStream, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(&bytes) {
            Ok(written) => drop(bytes.split_to(written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Closes the write side and waits for the peer to close. Closing a socket with unread bytes would reset the connection, and
/// the peer could lose the last frames.
async fn linger(mut incoming: Incoming) {
    // Ignore errors: the peer may already be gone.
    let _ = SockRef::from(&*incoming.socket).shutdown(Shutdown::Write);
    let until_end = async { while let Some(Ok(_)) = incoming.next().await {} };
    // Stop waiting for a peer that does not close.
    let _ = timeout(Duration::from_millis(LINGER_MS), until_end).await;
}

/// What a peer sends.
struct Incoming {
    socket: Rc<TcpStream>,
    /// Bytes that arrived with the handshake.
    ahead: Bytes,
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.ahead))));
        }
        loop {
            if let Err(error) = ready!(self.socket.poll_read_ready(cx)) {
                return Poll::Ready(Some(Err(PayloadError::Io(error))));
            }
            let mut buffer = [0; READ_BYTES];
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Poll::Ready(None),
                Ok(read) => return Poll::Ready(Some(Ok(Bytes::copy_from_slice(&buffer[..read])))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Some(Err(PayloadError::Io(error)))),
            }
        }
    }
}
