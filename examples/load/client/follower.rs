//! A follower of the feed: it asks again as soon as it is answered, and notes how old each entry is when it comes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Deserialize;

use super::clock::{Stamps, now_us};
use super::http::find;
use super::signing::Signer;
use crate::Result;
use crate::measure::{latencies, record};

/// Entries of a page, and the longest wait of the service for the first one.
const PAGE: usize = 1000;
const WAIT_MS: u64 = 10_000;

/// What was followed.
pub struct Followed {
    /// How many entries came.
    pub entries: usize,
    /// From the first request to the last entry.
    pub elapsed: Duration,
    /// When the last one came.
    pub ended: Instant,
    /// From the commit of an entry to its arrival, in microseconds.
    pub lags: Histogram<u64>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    entries: Vec<Row<'a>>,
    next: String,
}

#[derive(Deserialize)]
struct Row<'a> {
    committed_at: &'a str,
}

/// One connection to the feed.
pub struct Follower {
    stream: TcpStream,
    signer: Signer,
    cursor: String,
    answer: Vec<u8>,
}

impl Follower {
    /// From the first entry, or from what comes from now on.
    pub fn new(address: SocketAddr, signer: Signer, is_latest: bool) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(2 * WAIT_MS)))?;
        let mut follower = Self {
            stream,
            signer,
            cursor: String::new(),
            answer: Vec::new(),
        };
        if is_latest {
            let page: Page<'_> = serde_json::from_slice(follower.ask("after=latest")?)?;
            follower.cursor = page.next;
        }
        Ok(follower)
    }

    /// Follows so many entries in a thread.
    pub fn follow(mut self, entries: usize) -> JoinHandle<Result<Followed>> {
        thread::spawn(move || {
            let (start, mut lags, mut stamps) = (Instant::now(), latencies(), Stamps::default());
            let mut came = 0;
            while came < entries {
                let after = match self.cursor.as_str() {
                    "" => String::new(),
                    cursor => format!("&after={cursor}"),
                };
                let query = format!("limit={PAGE}&wait_ms={WAIT_MS}{after}");
                let page: Page<'_> = serde_json::from_slice(self.ask(&query)?)?;
                let now = now_us();
                for row in &page.entries {
                    let at = stamps.read(row.committed_at.as_bytes());
                    let lag_us = now - at.ok_or("a time of the feed is none")?;
                    let lag = Duration::from_micros(u64::try_from(lag_us).unwrap_or(0));
                    record(&mut lags, lag);
                }
                if page.entries.is_empty() {
                    return Err(format!("nothing came after {came} of {entries} entries").into());
                }
                came += page.entries.len();
                self.cursor = page.next;
            }
            Ok(Followed {
                entries: came,
                elapsed: start.elapsed(),
                ended: Instant::now(),
                lags,
            })
        })
    }

    /// The body of an answer.
    fn ask(&mut self, query: &str) -> Result<&[u8]> {
        let path = format!("/internal/v1/feed?{query}");
        let request = self.signer.request("GET", &path, "follower", b"");
        self.stream.write_all(&request)?;
        self.answer.clear();
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(end) = find(&self.answer, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.ok_or("an answer has no length")?.parse()?;
                let whole = end + 4 + length;
                if self.answer.len() >= whole {
                    if !head.starts_with("http/1.1 200") {
                        return Err(format!("the feed answers {head}").into());
                    }
                    return Ok(&self.answer[end + 4..whole]);
                }
            }
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err("the feed has closed the connection".into());
            }
            self.answer.extend_from_slice(&chunk[..count]);
        }
    }
}
