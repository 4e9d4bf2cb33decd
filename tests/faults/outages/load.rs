//! A load through an outage: senders that repeat requests, sessions that refresh, readers. Each
//! checks its answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    Event, PATIENCE, Sender, Signed, TestApp, Witness, Ws, dice_of, fresh_seed, token,
};

use super::{ANSWER_MARGIN, TIMEOUT};

/// Users of the load: 1 to this number.
pub const USERS: u64 = 8;
const SENDERS: u64 = 6;
const READERS: u64 = 3;
/// One in this many acknowledged entries is sent again.
const RESENT: u64 = 4;
/// How often a session refreshes; below its message rate.
const REFRESH: Duration = Duration::from_millis(300);

/// The answers to the load so far.
#[derive(Default)]
pub struct Told {
    /// Each acknowledged event: its user, version and amount in the smallest unit.
    pub acknowledged: Mutex<BTreeMap<String, (u64, u64, u64)>>,
    longest: Mutex<Duration>,
    is_over: AtomicBool,
    /// 503 to senders; stale balances and errors to sessions; and to readers.
    pub refused: Mutex<[u64; 3]>,
}

impl Told {
    pub fn count(&self) -> usize {
        self.acknowledged.lock().expect("no panic holds it").len()
    }

    fn note(&self, since: Instant) {
        let mut longest = self.longest.lock().expect("no panic holds it");
        *longest = longest.max(since.elapsed());
    }

    fn count_refusal(&self, of: usize) {
        self.refused.lock().expect("no panic holds it")[of] += 1;
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

pub struct Load {
    pub told: Arc<Told>,
    senders: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the load.
    pub async fn start(app: &TestApp) -> Self {
        let seed = fresh_seed();
        println!("again: BALANCE_TEST_SEED={seed} cargo test --test faults outages::");
        let told = Arc::new(Told::default());
        let mut others = Vec::new();
        for user_id in 1..=USERS {
            app.accepted("deposits", user_id, &format!("first:{user_id}"), "1")
                .await;
            told.acknowledged
                .lock()
                .expect("no panic holds it")
                .insert(format!("first:{user_id}"), (user_id, 1, 1_000_000_000));
            let (ws, snapshot) = app.session(user_id).await;
            others.push(tokio::spawn(watch(ws, snapshot, told.clone())));
        }
        for reader in 0..READERS {
            let request = |user_id| {
                app.public_request(reqwest::Method::GET, "/api/v1/balance?fresh=true")
                    .bearer_auth(token(user_id))
            };
            let user_id = 1 + reader;
            others.push(tokio::spawn(read(request(user_id), told.clone())));
        }
        let senders = (0..SENDERS)
            .map(|index| {
                tokio::spawn(send(
                    app.sender(),
                    index,
                    dice_of(usize::try_from(index).expect("few")),
                    told.clone(),
                ))
            })
            .collect();
        Self {
            told,
            senders,
            others,
        }
    }

    /// Ends the load, after every started entry is acknowledged.
    pub async fn finish(self) -> Arc<Told> {
        self.told.is_over.store(true, Ordering::Relaxed);
        for task in self.senders.into_iter().chain(self.others) {
            task.await.expect("nothing that was told was wrong");
        }
        let longest = *self.told.longest.lock().expect("no panic holds it");
        let [senders, sessions, readers] = *self.told.refused.lock().expect("no panic holds it");
        println!(
            "load: {} acknowledged; longest answer {longest:?}; told that the ledger is away: senders {senders}, \
             sessions {sessions}, readers {readers}",
            self.told.count()
        );
        assert!(
            longest < TIMEOUT + ANSWER_MARGIN,
            "an answer took {longest:?}"
        );
        self.told
    }
}

/// Sends until acknowledged; each refusal must be one of the protocol, and in time.
pub async fn insist(sender: &Sender, request: &Signed, told: &Told) -> Value {
    let start = Instant::now();
    while start.elapsed() < 3 * PATIENCE {
        let asked = Instant::now();
        let answer = sender
            .try_send(request.clone())
            .await
            .expect("the service is there");
        told.note(asked);
        if answer.status == 200 {
            return answer.ok();
        }
        answer.problem(503, "ledger_unavailable");
        told.count_refusal(0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never acknowledged: {request:?}");
}

async fn send(sender: Sender, index: u64, mut rng: StdRng, told: Arc<Told>) {
    for n in 0_u64.. {
        if told.is_over() {
            return;
        }
        let (user_id, amount) = (rng.random_range(1..=USERS), rng.random_range(1..1_000_u64));
        let event_id = format!("s{index}:{n}");
        let body = json!({"event_id": event_id, "user_id": user_id, "currency": "TON", "amount": format!("0.{amount:09}")});
        let what = if rng.random_bool(0.5) {
            "deposits"
        } else {
            "rewards"
        };
        let request = Signed::post(&format!("/internal/v1/{what}"), &body);
        let answer = insist(&sender, &request, &told).await;
        if n % RESENT == 0 {
            let again = insist(&sender, &request, &told).await;
            assert_eq!(again["duplicate"], true, "{again}");
            for key in ["version", "committed_at", "balances"] {
                assert_eq!(again[key], answer[key], "{again} after {answer}");
            }
        }
        let version = answer["version"].as_u64().expect("a version");
        let mut acknowledged = told.acknowledged.lock().expect("no panic holds it");
        assert_eq!(
            acknowledged.insert(event_id, (user_id, version, amount)),
            None
        );
    }
}

async fn read(request: reqwest::RequestBuilder, told: Arc<Told>) {
    let mut version = 1;
    while !told.is_over() {
        let asked = Instant::now();
        let response = request
            .try_clone()
            .expect("no body")
            .send()
            .await
            .expect("the service is there");
        let answer = crate::support::Answer::read(response)
            .await
            .expect("a whole answer");
        told.note(asked);
        if answer.status == 200 {
            let balance = answer.ok();
            let now = balance["version"].as_u64().expect("a version");
            assert!(now >= version, "an older version than {version}: {balance}");
            assert_ne!(
                balance["balances"]["TON"], "0.000000000",
                "made up: {balance}"
            );
            version = now;
            if balance["stale"] == true {
                told.count_refusal(2);
            }
        } else {
            answer.problem(503, "ledger_unavailable");
            told.count_refusal(2);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// A session through the outage: it stays open, every refresh is answered in time, and its last
/// balance is the ledger's.
async fn watch(mut ws: Ws, snapshot: Value, told: Arc<Told>) {
    let mut witness = Witness::of(&snapshot);
    let mut asked: HashMap<u64, Instant> = HashMap::new();
    for id in 0_u64.. {
        let is_last = told.is_over() && asked.is_empty();
        asked.insert(id, Instant::now());
        ws.send_json(json!({"type": "refresh", "id": id})).await;
        let until = Instant::now() + REFRESH;
        loop {
            // Waits for the last answer; it may be stale only during an outage.
            let wait = if is_last {
                PATIENCE
            } else {
                until.saturating_duration_since(Instant::now())
            };
            let frame = match ws.next_within(wait).await {
                Some(Event::Frame(frame)) => frame,
                Some(ended) => panic!("the session ended: {ended:?}"),
                None if is_last => panic!("a refresh was not answered within {PATIENCE:?}"),
                None => break,
            };
            witness.see(&frame);
            let is_error = frame["type"] == "error";
            assert!(
                !is_error || frame["code"] == "ledger_unavailable",
                "{frame}"
            );
            assert!(
                !is_error || frame["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0),
                "{frame}"
            );
            if is_error || frame["stale"] == true {
                told.count_refusal(1);
            }
            if let Some(since) = frame["id"].as_u64().and_then(|id| asked.remove(&id)) {
                told.note(since);
            }
            if is_last && frame["id"] == id {
                assert_eq!(frame["stale"], false, "{frame}");
                return;
            }
        }
        let oldest = asked
            .values()
            .map(Instant::elapsed)
            .max()
            .unwrap_or_default();
        assert!(
            oldest < TIMEOUT + ANSWER_MARGIN,
            "a refresh is not answered for {oldest:?}"
        );
    }
}
