//! The readers: back ends and browsers over HTTP, and pages that reopen their WebSocket when it
//! breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Bank, note_read, random_user};
use crate::linearizability::History;
use crate::support::{Event, PATIENCE, Witness, Ws};

/// How long a session reads before it checks for other work.
const LISTENING: Duration = Duration::from_millis(200);
/// Pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads repeatedly, in every way that HTTP offers.
pub(super) async fn over_http(bank: Arc<Bank>, mut rng: StdRng) -> History {
    let mut seen = History::default();
    while !bank.is_over() {
        let user_id = random_user(&mut rng);
        let query = if rng.random_bool(0.5) {
            "?fresh=true"
        } else {
            ""
        };
        let visitor = bank.visitor(&mut rng);
        let sent = bank.now();
        let answer = if rng.random_bool(0.5) {
            visitor
                .backend(&format!("/internal/v1/users/{user_id}/balance{query}"))
                .await
        } else {
            visitor
                .browser(&format!("/api/v1/balance{query}"), user_id)
                .await
        };
        let answered = bank.now();
        match answer {
            Ok(answer) if answer.status == 200 => {
                let shown = answer.ok();
                assert_eq!(shown["user_id"], user_id, "{shown}");
                note_read(&mut seen, &shown, sent, answered);
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                bank.repeat();
            }
            Err(_) => {
                bank.repeat();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    seen
}

/// Reads a user's sessions, one after another, and sometimes sends a refresh; until the last one has been shown the end.
pub(super) async fn over_a_session(bank: Arc<Bank>, user_id: u64, mut rng: StdRng) -> History {
    let mut seen = History::default();
    loop {
        let sent = bank.now();
        let Some(mut ws) = bank.visitor(&mut rng).session(user_id).await else {
            bank.repeat();
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut page = Page {
            bank: &bank,
            witness: Witness::default(),
            versions: Vec::new(),
            snapshot: Some(sent),
            refresh: None,
        };
        let is_shown_all = page.listen(&mut ws, &mut seen, user_id, &mut rng).await;
        seen.sessions.push(page.versions);
        if is_shown_all {
            return seen;
        }
    }
}

/// One session, until its connection or the test ends.
struct Page<'a> {
    bank: &'a Bank,
    witness: Witness,
    versions: Vec<u64>,
    /// When the pending snapshot was requested.
    snapshot: Option<u64>,
    /// When the pending refresh was requested.
    refresh: Option<u64>,
}

impl Page<'_> {
    /// Whether it was shown the end.
    ///
    /// # Panics
    /// When it is not shown it in time.
    async fn listen(
        &mut self,
        ws: &mut Ws,
        seen: &mut History,
        user_id: u64,
        rng: &mut StdRng,
    ) -> bool {
        let mut settled: Option<Instant> = None;
        while self.refresh.is_some() || !self.bank.is_settled(user_id, self.witness.version) {
            if self.bank.settled.get().is_some() {
                let since = settled.get_or_insert_with(Instant::now);
                assert!(
                    since.elapsed() < PATIENCE,
                    "user {user_id} was shown version {} last",
                    self.witness.version
                );
            }
            if !self.bank.is_over()
                && self.snapshot.is_none()
                && self.refresh.is_none()
                && rng.random_bool(0.2)
            {
                self.refresh = Some(self.bank.now());
                let asked = json!({"type": "refresh", "id": "again"}).to_string();
                if !ws.try_send(Message::text(asked)).await {
                    return false;
                }
            }
            match ws.next_within(LISTENING).await {
                None => {}
                Some(Event::Frame(frame)) => self.hear(&frame, seen, user_id),
                // The service was killed, or has closed a session that it could not keep.
                Some(Event::Broken | Event::Closed { .. }) => {
                    self.bank.repeat();
                    return false;
                }
            }
        }
        true
    }

    fn hear(&mut self, frame: &serde_json::Value, seen: &mut History, user_id: u64) {
        assert_eq!(frame["user_id"], user_id, "{frame}");
        let sent = match (frame["type"].as_str(), frame["reason"].as_str()) {
            (Some("hello"), _) => return,
            (Some("balance"), Some("snapshot")) => self.snapshot.take().unwrap_or(0),
            (Some("balance"), Some("refresh")) => self.refresh.take().expect("asked for"),
            (Some("balance"), Some("recovered")) | (Some("balance_update"), _) => 0,
            _ => panic!("unexpected: {frame}"),
        };
        self.witness.see(frame);
        self.versions
            .push(frame["version"].as_u64().expect("checked"));
        note_read(seen, frame, sent, self.bank.now());
    }
}
