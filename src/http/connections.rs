//! Ends connections that hold a place and ask for nothing.
//!
//! actix-web bounds the head of a connection's first request and the silence before the next one, but not the head of that
//! next one: with its first byte both timers are gone, and a peer could stay for ever. So each connection has a task that
//! looks how long no request has been under way. Lives on the worker thread of its connection; a WebSocket leaves it with
//! the upgrade, since a session has time-outs of its own.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::{net::TcpStream, spawn, time::sleep};
use log::debug;
use socket2::{SockRef, Socket};

use crate::clock::Clock;
use crate::limits::CONNECTION_IDLE_MS;

/// A connection as its requests see it.
pub(super) struct Watched {
    /// `None` when it need not be watched any more.
    socket: RefCell<Option<Socket>>,
    requests: Cell<usize>,
    clock: Clock,
    /// Monotonic.
    idle_since_us: Cell<u64>,
}

/// Begins to watch a connection.
pub(super) fn watch(connection: &dyn Any, data: &mut Extensions, clock: Clock) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    match SockRef::from(stream).try_clone() {
        Ok(socket) => {
            let watched = Rc::new(Watched {
                socket: RefCell::new(Some(socket)),
                requests: Cell::new(0),
                clock,
                idle_since_us: Cell::new(clock.monotonic_us()),
            });
            spawn(end_when_idle(Rc::downgrade(&watched)));
            data.insert(watched);
        }
        Err(error) => {
            // No file is left: nobody could end it later.
            debug!("a connection can't be watched and is ended: {error}");
            // A peer that is gone already needs no end.
            let _ = SockRef::from(stream).shutdown(Shutdown::Both);
        }
    }
}

impl Watched {
    /// A request is under way.
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// A request is answered.
    pub(super) fn end(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
        self.idle_since_us.set(self.clock.monotonic_us());
    }

    /// Watches no more.
    pub(super) fn release(&self) {
        self.socket.take();
    }

    /// When to look again; `None` when there is nothing left to look after.
    fn check(&self) -> Option<Duration> {
        let socket = self.socket.borrow();
        let socket = socket.as_ref()?;
        if self.requests.get() > 0 {
            return Some(Duration::from_millis(CONNECTION_IDLE_MS));
        }
        let idle_us = self.clock.monotonic_us().saturating_sub(self.idle_since_us.get());
        let left_us = (CONNECTION_IDLE_MS * 1000).saturating_sub(idle_us);
        if left_us == 0 {
            // A peer that is gone already needs no end.
            let _ = socket.shutdown(Shutdown::Both);
            return None;
        }
        Some(Duration::from_micros(left_us))
    }
}

async fn end_when_idle(watched: Weak<Watched>) {
    while let Some(wait) = watched.upgrade().and_then(|watched| watched.check()) {
        sleep(wait).await;
    }
}
