//! Closes idle connections.
//!
//! actix-http limits the time for the head of a connection's first request and the pause before the next request, but not the
//! time for the head of that next request: its first byte stops both timers, and a peer could hold the connection for ever.
//! So a connection checks, on every read and write and when its alarm fires, how long no request has been in progress.
//! It lives on one worker thread. A session takes the socket out with the upgrade, since it has time-outs of its own.

use std::cell::Cell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Sleep, sleep_until};

use crate::clock::{Clock, Mono};
use crate::limits::CONNECTION_IDLE_MS;

const IDLE: Duration = Duration::from_millis(CONNECTION_IDLE_MS);

/// A socket that closes when it is idle.
pub(super) struct Connection {
    socket: TcpStream,
    activity: Rc<Activity>,
    alarm: Pin<Box<Sleep>>,
}

/// Whether a connection has requests in progress, and since when it has none.
pub(super) struct Activity {
    clock: Clock,
    requests: Cell<usize>,
    idle_since: Cell<Mono>,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, clock: Clock) -> Self {
        let idle_since = Cell::new(clock.mono());
        let activity = Rc::new(Activity {
            clock,
            requests: Cell::new(0),
            idle_since,
        });
        Self {
            socket,
            activity,
            alarm: Box::pin(sleep_until(clock.deadline(IDLE).instant())),
        }
    }

    pub(super) fn activity(&self) -> Rc<Activity> {
        self.activity.clone()
    }

    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// The socket, unless the connection was idle for too long.
    fn poll_use(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let left = self.activity.left().ok_or(io::ErrorKind::TimedOut)?;
            self.alarm
                .as_mut()
                .reset(self.activity.clock.deadline(left).instant());
        }
        Ok(Pin::new(&mut self.socket))
    }
}

impl Activity {
    /// A request has started.
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// A request has been answered.
    pub(super) fn end(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
        self.idle_since.set(self.clock.mono());
    }

    /// How long the connection may stay open from now; `None` when it was idle for too long.
    fn left(&self) -> Option<Duration> {
        if self.requests.get() > 0 {
            return Some(IDLE);
        }
        let idle_us = self.clock.mono().us_since(self.idle_since.get());
        let idle = Duration::from_micros(idle_us);
        IDLE.checked_sub(idle).filter(|left| !left.is_zero())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_use(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_use(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_use(cx)?.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
