//! Closes idle connections.
//!
//! actix-http limits the time for the head of a connection's first request and the pause before the next request
//! (`server.keep_alive_s`), but not the time for the head of that next request: its first byte stops both timers, and a peer
//! could hold the connection for ever. So a connection checks, on every read and write and when its alarm fires, how long no
//! request has been in progress, and since when a head is arriving.
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
use crate::limits::NEXT_HEAD_MS;

const NEXT_HEAD: Duration = Duration::from_millis(NEXT_HEAD_MS);

/// A socket that closes when it is idle.
pub(super) struct Connection {
    socket: TcpStream,
    activity: Rc<Activity>,
    alarm: Pin<Box<Sleep>>,
}

/// Whether a connection has requests in progress, and since when it has none.
pub(super) struct Activity {
    clock: Clock,
    /// How long it may have no request in progress: to read the last answer, to stay idle, and to send the next head.
    idle_max: Duration,
    requests: Cell<usize>,
    idle_since: Cell<Mono>,
    /// When the first byte of the next head came, if one has.
    head_since: Cell<Option<Mono>>,
}

impl Connection {
    /// For a connection that is kept for `keep_alive`.
    pub(super) fn new(socket: TcpStream, clock: Clock, keep_alive: Duration) -> Self {
        let activity = Rc::new(Activity {
            clock,
            idle_max: keep_alive + NEXT_HEAD,
            requests: Cell::new(0),
            idle_since: Cell::new(clock.mono()),
            head_since: Cell::new(None),
        });
        Self {
            socket,
            alarm: Box::pin(sleep_until(clock.deadline(activity.idle_max).instant())),
            activity,
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
        self.head_since.set(None);
    }

    /// Bytes have arrived. Whether they are the first of a head.
    fn received(&self) -> bool {
        let is_first = self.requests.get() == 0 && self.head_since.get().is_none();
        if is_first {
            self.head_since.set(Some(self.clock.mono()));
        }
        is_first
    }

    /// A request has been answered.
    pub(super) fn end(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
        self.idle_since.set(self.clock.mono());
    }

    /// How long the connection may stay open from now; `None` when it was idle, or its next head was incomplete, for too long.
    fn left(&self) -> Option<Duration> {
        if self.requests.get() > 0 {
            return Some(NEXT_HEAD);
        }
        let now = self.clock.mono();
        let left = |since: Mono, max: Duration| {
            let passed = Duration::from_micros(now.us_since(since));
            max.checked_sub(passed).filter(|left| !left.is_zero())
        };
        let idle = left(self.idle_since.get(), self.idle_max)?;
        match self.head_since.get() {
            None => Some(idle),
            Some(since) => Some(left(since, NEXT_HEAD)?.min(idle)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.poll_use(cx)?.poll_read(cx, buf);
        if buf.filled().len() > before && self.activity.received() {
            let deadline = self.activity.clock.deadline(NEXT_HEAD);
            self.alarm.as_mut().reset(deadline.instant());
        }
        read
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
        let clock = Clock::virtual_from(0);
        let activity = Activity {
            clock,
            idle_max: Duration::from_secs(75) + NEXT_HEAD,
            requests: Cell::new(0),
            idle_since: Cell::new(clock.mono()),
            head_since: Cell::new(None),
        };
        let pass = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        let left_s = || activity.left().map(|left| left.as_secs());
        assert_eq!(left_s(), Some(90));
        pass(80).await;
        assert_eq!(left_s(), Some(10));
        activity.begin();
        pass(1000).await;
        assert_eq!(left_s(), Some(15), "a request is in progress");
        activity.end();
        assert_eq!(left_s(), Some(90));
        pass(60).await;
        assert!(activity.received(), "the first byte of a head");
        pass(10).await;
        assert!(!activity.received());
        assert_eq!(left_s(), Some(5));
        pass(5).await;
        assert_eq!(left_s(), None);
        activity.begin();
        assert!(!activity.received(), "bytes of a body");
        activity.end();
        assert_eq!(left_s(), Some(90));
        pass(90).await;
        assert_eq!(left_s(), None);
    }
}
