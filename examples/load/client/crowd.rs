//! Many WebSockets on one thread: opens them, reads their frames, measures, and sends texts (to the
//! echo server).

use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::clock::{Stamps, now_us};
use super::sessions::{Desk, Session, Stage};
use super::told::{Expected, Measures};
use crate::Result;
use crate::system::ticker::Ticker;

/// Handshakes under way at once.
const OPENING_MAX: usize = 256;
const READ_BYTES: usize = 64 * 1024;
const TICKER: Token = Token(usize::MAX);

/// The sessions to open, and where.
pub struct Guests {
    /// The public listener.
    pub address: SocketAddr,
    /// The user of the first session; each further session is of the next user.
    pub first_user: usize,
    /// A whole handshake for each session.
    pub handshakes: Vec<Vec<u8>>,
}

struct Shared {
    measures: Mutex<Measures>,
    expected: Expected,
    is_over: AtomicBool,
    /// Texts per second that the sessions send in turn; 0: none.
    speeches_per_s: AtomicI64,
}

/// A handle to a running crowd.
pub struct Crowd {
    /// The user of the first session.
    pub first_user: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// Starts to open all sessions.
    pub fn open(guests: Guests) -> Self {
        let sessions = guests.handshakes.len();
        let shared = Arc::new(Shared {
            measures: Mutex::new(Measures::new(sessions)),
            expected: Expected::new(sessions),
            is_over: AtomicBool::new(false),
            speeches_per_s: AtomicI64::new(0),
        });
        let (theirs, first_user) = (shared.clone(), guests.first_user);
        let thread = std::thread::spawn(move || Room::new(guests, theirs)?.run());
        Self {
            first_user,
            shared,
            thread: Some(thread),
        }
    }

    /// What was measured so far.
    pub fn measures(&self) -> MutexGuard<'_, Measures> {
        self.shared
            .measures
            .lock()
            .expect("the crowd has not panicked")
    }

    /// Measures anew.
    pub fn begin(&self) {
        let mut measures = self.measures();
        let (versions, opened, snapshots) = (
            std::mem::take(&mut measures.versions),
            measures.opened,
            measures.snapshots,
        );
        *measures = Measures {
            versions,
            opened,
            snapshots,
            ..Measures::new(0)
        };
    }

    /// For the sender: what sessions expect.
    pub fn expected(&self) -> &Expected {
        &self.shared.expected
    }

    /// From now on sessions send texts in turn, at this total rate per second; each text is the
    /// time it was meant to be sent.
    pub fn speak(&self, per_s: i64) {
        self.shared.speeches_per_s.store(per_s, Ordering::Relaxed);
    }

    /// Waits until a condition holds for the measures.
    ///
    /// # Errors
    /// When it does not within `patience`, or the crowd has ended.
    pub fn wait(
        &self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&Measures) -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            if holds(&self.measures()) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > patience
                || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
            {
                let m = self.measures();
                return Err(format!(
                    "{what}: not within {patience:?} ({} opened, {} snapshots, {} closed, {} refused, {} direct, {} paced)",
                    m.opened, m.snapshots, m.closed, m.refused, m.direct, m.paced
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Closes all connections.
    pub fn close(mut self) -> Result<()> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err("the crowd has panicked".into()),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its thread has already reported a panic.
            let _ = thread.join();
        }
    }
}

/// The crowd's own side.
struct Room {
    guests: Guests,
    shared: Arc<Shared>,
    poll: Poll,
    ticker: Ticker,
    sessions: Vec<Session>,
    /// Begun and not open yet.
    opening: usize,
    speeches: Option<Speeches>,
}

struct Speeches {
    per_s: i64,
    start: Instant,
    start_us: i64,
    said: u64,
}

impl Room {
    fn new(guests: Guests, shared: Arc<Shared>) -> Result<Self> {
        let (poll, ticker) = (Poll::new()?, Ticker::new()?);
        poll.registry().register(
            &mut SourceFd(&ticker.as_raw_fd()),
            TICKER,
            Interest::READABLE,
        )?;
        Ok(Self {
            guests,
            shared,
            poll,
            ticker,
            sessions: Vec::new(),
            opening: 0,
            speeches: None,
        })
    }

    fn run(mut self) -> Result<()> {
        let (mut events, mut stamps) = (Events::with_capacity(1024), Stamps::default());
        let mut scratch = vec![0; READ_BYTES];
        while !self.shared.is_over.load(Ordering::Relaxed) {
            self.begin_some()?;
            self.poll
                .poll(&mut events, Some(Duration::from_millis(20)))?;
            let shared = self.shared.clone();
            let mut measures = shared.measures.lock().expect("no holder panics");
            let mut desk = Desk {
                measures: &mut measures,
                stamps: &mut stamps,
                scratch: &mut scratch,
                expected: &shared.expected,
            };
            for event in &events {
                match event.token() {
                    TICKER => self.ticker.clear()?,
                    Token(index) => self.serve(index, &mut desk),
                }
            }
            self.speak(&mut measures)?;
        }
        Ok(())
    }

    fn begin_some(&mut self) -> Result<()> {
        while self.opening < OPENING_MAX && self.sessions.len() < self.guests.handshakes.len() {
            let index = self.sessions.len();
            let mut session = Session::begin(self.guests.address, index)?;
            self.poll.registry().register(
                &mut session.stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            self.sessions.push(session);
            self.opening += 1;
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, desk: &mut Desk<'_>) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if session.stage == Stage::Closed {
            return;
        }
        let was_opening = session.stage != Stage::Open;
        if session.stage == Stage::Connecting && session.greet(&self.guests.handshakes[index]) {
            // Sent once.
            self.guests.handshakes[index] = Vec::new();
        }
        let is_refused = matches!(session.stream.take_error(), Ok(Some(_)) | Err(_));
        if session.stage == Stage::Connecting && !is_refused {
            return;
        }
        if is_refused || !session.read(index, desk) {
            session.stage = Stage::Closed;
            desk.measures.closed += 1;
            // It stays registered until it is dropped; the kernel reports no more events for it.
            let _ = session.stream.shutdown(std::net::Shutdown::Both);
        }
        self.opening -= usize::from(was_opening && session.stage != Stage::Handshake);
    }

    fn speak(&mut self, measures: &mut Measures) -> Result<()> {
        let per_s = self.shared.speeches_per_s.load(Ordering::Relaxed);
        if self.speeches.as_ref().map_or(0, |speeches| speeches.per_s) != per_s {
            self.speeches = (per_s > 0).then(|| Speeches {
                per_s,
                start: Instant::now(),
                start_us: now_us(),
                said: 0,
            });
        }
        let Some(speeches) = &mut self.speeches else {
            return Ok(());
        };
        loop {
            let due = Duration::from_secs_f64(speeches.said as f64 / speeches.per_s as f64);
            let elapsed = speeches.start.elapsed();
            if due > elapsed {
                return self.ticker.wake_in(due - elapsed);
            }
            let index = usize::try_from(speeches.said)? % self.sessions.len();
            let stamp = balance_coordinator::clock::rfc3339(
                speeches.start_us + i64::try_from(due.as_micros())?,
            );
            measures.unsaid += u64::from(!self.sessions[index].say(stamp.as_bytes()));
            speeches.said += 1;
        }
    }
}
