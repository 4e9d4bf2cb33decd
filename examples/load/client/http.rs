//! A cheap HTTP/1.1 client: one thread, kept connections, one request under way on each.
//!
//! In an open loop a request's latency counts from when it was meant to be sent, so that a slow service can't hide behind
//! requests that were never sent (no coordinated omission).

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::Result;
use crate::measure::{latencies, record};
use crate::system::ticker::Ticker;

/// How long a run waits for any event.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How often a request answered 503 is sent again, and after which time.
const ATTEMPTS_MAX: u32 = 100;
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The status, without a body, that ends a new connection without a request. (With a body it is the answer to a request.)
const SILENT_FOR_LONG: u16 = 408;

const READ_BYTES: usize = 16 * 1024;

/// The most bytes in one write: some kernels do not preempt a write, and one of a whole batch takes
/// milliseconds.
const WRITE_BYTES: usize = 64 * 1024;

const TICKER: Token = Token(usize::MAX);

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// The next one as soon as one is answered.
    AsAnswered,
    /// At this rate per second, independent of the answers.
    PerSecond(f64),
}

/// An answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Latencies in microseconds.
    pub latencies: Histogram<u64>,
    /// Requests sent again because a kept connection had ended.
    pub resent: u64,
    /// Requests sent again because they were answered 503.
    pub unavailable: u64,
}

impl Outcome {
    /// Answers in all.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answers() as f64 / self.elapsed.as_secs_f64()
    }

    /// Everything was answered 200.
    pub fn is_clean(&self) -> bool {
        self.statuses.keys().all(|status| *status == 200)
    }
}

struct Pending {
    intended: Instant,
    attempts: u32,
    bytes: Vec<u8>,
}

struct Connection {
    stream: mio::net::TcpStream,
    pending: Option<Pending>,
    written: usize,
    read: Vec<u8>,
}

struct Run<'a> {
    address: SocketAddr,
    poll: Poll,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    /// Answered 503; to be sent again after this time.
    again: VecDeque<(Instant, Pending)>,
    outcome: Outcome,
    on_answer: &'a mut dyn FnMut(&Answer<'_>),
}

/// Sends all requests and waits for all answers.
///
/// # Errors
/// When the service can't be reached, or does not answer for long.
pub fn run(
    address: SocketAddr,
    connections: usize,
    pace: Pace,
    mut requests: impl Iterator<Item = Vec<u8>>,
    on_answer: &mut dyn FnMut(&Answer<'_>),
) -> Result<Outcome> {
    let (statuses, latencies) = (BTreeMap::new(), latencies());
    let outcome = Outcome {
        elapsed: Duration::ZERO,
        statuses,
        latencies,
        resent: 0,
        unavailable: 0,
    };
    let (poll, again) = (Poll::new()?, VecDeque::new());
    let mut run = Run {
        address,
        poll,
        connections: Vec::new(),
        idle: Vec::new(),
        again,
        outcome,
        on_answer,
    };
    for index in 0..connections {
        let connection = run.connect(index)?;
        run.connections.push(connection);
        run.idle.push(index);
    }
    let ticker = Ticker::new()?;
    run.poll.registry().register(
        &mut SourceFd(&ticker.as_raw_fd()),
        TICKER,
        Interest::READABLE,
    )?;
    let (mut backlog, mut events) = (VecDeque::new(), Events::with_capacity(1024));
    let (mut sent, mut is_over) = (0usize, false);
    let start = Instant::now();
    let mut heard = start;
    loop {
        let now = Instant::now();
        while !is_over {
            let intended = match pace {
                Pace::AsAnswered if backlog.len() >= run.idle.len() => break,
                Pace::AsAnswered => now,
                Pace::PerSecond(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
            };
            if intended > now {
                ticker.wake_in(intended - now)?;
                break;
            }
            match requests.next() {
                Some(bytes) => backlog.push_back(Pending {
                    intended,
                    attempts: 0,
                    bytes,
                }),
                None => is_over = true,
            }
            sent += usize::from(!is_over);
        }
        while run.again.front().is_some_and(|(due, _)| *due <= now) {
            backlog.extend(run.again.pop_front().map(|(_, pending)| pending));
        }
        while let Some(connection) = (!backlog.is_empty()).then(|| run.idle.pop()).flatten() {
            let pending = backlog.pop_front().expect("looked at above");
            run.send(connection, pending)?;
        }
        if is_over
            && backlog.is_empty()
            && run.again.is_empty()
            && run.idle.len() == run.connections.len()
        {
            break;
        }
        let patience = if run.again.is_empty() {
            Duration::from_millis(500)
        } else {
            AGAIN_AFTER
        };
        run.poll.poll(&mut events, Some(patience))?;
        for event in &events {
            match event.token() {
                TICKER => ticker.clear()?,
                Token(index) => run.serve(index)?,
            }
            heard = Instant::now();
        }
        if heard.elapsed() > SILENCE_MAX {
            return Err(format!("{address} said nothing for {SILENCE_MAX:?}").into());
        }
    }
    run.outcome.elapsed = start.elapsed();
    Ok(run.outcome)
}

impl Run<'_> {
    fn connect(&self, index: usize) -> Result<Connection> {
        let stream = std::net::TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        self.poll.registry().register(
            &mut stream,
            Token(index),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(Connection {
            stream,
            pending: None,
            written: 0,
            read: Vec::new(),
        })
    }

    fn send(&mut self, index: usize, pending: Pending) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.pending = Some(pending);
        connection.written = 0;
        self.write(index)
    }

    fn write(&mut self, index: usize) -> Result<()> {
        loop {
            let connection = &mut self.connections[index];
            let Some(pending) = &connection.pending else {
                return Ok(());
            };
            let Some(rest) = pending
                .bytes
                .get(connection.written..)
                .filter(|rest| !rest.is_empty())
            else {
                return Ok(());
            };
            match connection
                .stream
                .write(&rest[..rest.len().min(WRITE_BYTES)])
            {
                Ok(count) => connection.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.replace(index),
            }
        }
    }

    /// The service closes idle connections; a request under way is repeated on another one. Entries
    /// have event ids, so sending them again is safe.
    fn replace(&mut self, index: usize) -> Result<()> {
        let new = self.connect(index)?;
        let old = std::mem::replace(&mut self.connections[index], new);
        match old.pending {
            Some(pending) => {
                self.outcome.resent += 1;
                if self.outcome.resent > 10_000 {
                    return Err("the service keeps closing connections".into());
                }
                self.send(index, pending)
            }
            None => Ok(()),
        }
    }

    fn serve(&mut self, index: usize) -> Result<()> {
        self.write(index)?;
        let mut scratch = [0; READ_BYTES];
        loop {
            let connection = &mut self.connections[index];
            match connection.stream.read(&mut scratch) {
                Ok(0) => return self.replace(index),
                Ok(count) => {
                    connection.read.extend_from_slice(&scratch[..count]);
                    self.answer(index)?;
                    if count < READ_BYTES {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.replace(index),
            }
        }
    }

    fn answer(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let Some(head) = find(&connection.read, b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(());
        };
        let (status, body_len) =
            head_of(&connection.read[..head]).ok_or("an answer that is no HTTP")?;
        if connection.read.len() < head + body_len {
            return Ok(());
        }
        // The service ends an idle new connection with this answer. It has not processed a request
        // that crossed it.
        if status == SILENT_FOR_LONG && body_len == 0 {
            return self.replace(index);
        }
        let Some(mut pending) = connection.pending.take() else {
            return self.replace(index);
        };
        if status == 503 && pending.attempts < ATTEMPTS_MAX {
            pending.attempts += 1;
            self.outcome.unavailable += 1;
            self.again
                .push_back((Instant::now() + AGAIN_AFTER, pending));
            connection.read.clear();
            self.idle.push(index);
            return Ok(());
        }
        record(&mut self.outcome.latencies, pending.intended.elapsed());
        *self.outcome.statuses.entry(status).or_default() += 1;
        (self.on_answer)(&Answer {
            status,
            body: &connection.read[head..head + body_len],
        });
        connection.read.clear();
        self.idle.push(index);
        Ok(())
    }
}

/// Where `needle` begins.
pub fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}

fn head_of(head: &[u8]) -> Option<(u16, usize)> {
    let text = std::str::from_utf8(head).ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Some((status, length.unwrap_or(0)))
}

/// One request and its answer.
///
/// # Errors
/// When there is no answer.
pub fn call(address: SocketAddr, request: Vec<u8>) -> Result<(u16, Vec<u8>)> {
    let mut answer = None;
    run(
        address,
        1,
        Pace::AsAnswered,
        std::iter::once(request),
        &mut |a| answer = Some((a.status, a.body.to_vec())),
    )?;
    Ok(answer.ok_or("no answer")?)
}
