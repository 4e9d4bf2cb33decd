//! Continuous senders: single webhooks of every kind, batches and atomic batches, each sent until
//! it has a final answer. The answers are recorded, to be compared with the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::{Answer, PATIENCE, Sender, Signed, StoredEntry, TestApp, TonHash, dice_of};

/// Senders at once, a third of each sort.
pub const SENDERS: usize = 12;
pub const USERS: u64 = 12;
/// The most items of a batch.
const BATCH_ITEMS_MAX: usize = 12;
/// Debits are fewer than credits but larger, so balances stay low and some debits are refused.
const DEBIT_MINOR_MAX: i64 = 2_400_000_000;
const CREDIT_MINOR_MAX: i64 = 1_000_000_000;

/// One item, alone or of a batch.
#[derive(Debug, Clone)]
struct Item {
    kind: &'static str,
    /// None for a deposit with a hash only.
    event_id: Option<String>,
    hash: Option<TonHash>,
    user_id: u64,
    currency: &'static str,
    /// Signed, in the smallest unit.
    minor: i64,
}

impl Item {
    fn random(name: String, rng: &mut StdRng) -> Self {
        let (kind, sign) = match rng.random_range(0..20) {
            0..5 => ("deposit", 1),
            5..12 => ("reward", 1),
            12..17 => ("withdrawal", -1),
            17..19 => ("adjustment", 1),
            _ => ("adjustment", -1),
        };
        let hash = (kind == "deposit" && rng.random_bool(0.8)).then(|| TonHash::of(&name));
        Self {
            kind,
            event_id: (hash.is_none() || rng.random_bool(0.5)).then_some(name),
            hash,
            user_id: rng.random_range(1..=USERS),
            currency: if rng.random_bool(0.5) { "TON" } else { "UNI" },
            minor: sign
                * rng.random_range(
                    1..if sign < 0 {
                        DEBIT_MINOR_MAX
                    } else {
                        CREDIT_MINOR_MAX
                    },
                ),
        }
    }

    /// The event id in the ledger.
    fn key(&self) -> String {
        self.event_id
            .clone()
            .unwrap_or_else(|| format!("ton:{}", self.hash.expect("one of both").hex()))
    }

    /// The body to send; each attempt spells the hash differently.
    fn body(&self, attempt: usize) -> Value {
        let minor = if self.kind == "withdrawal" {
            -self.minor
        } else {
            self.minor
        };
        let sign = if minor < 0 { "-" } else { "" };
        let amount = format!(
            "{sign}{}.{:09}",
            minor.abs() / 1_000_000_000,
            minor.abs() % 1_000_000_000
        );
        let mut body =
            json!({"user_id": self.user_id, "currency": self.currency, "amount": amount});
        if let Some(event_id) = &self.event_id {
            body["event_id"] = json!(event_id);
        }
        if let Some(hash) = &self.hash {
            let spellings = hash.five_spellings();
            body["tx_hash"] = json!(spellings[(attempt + self.user_id as usize) % spellings.len()]);
        }
        if self.kind == "adjustment" {
            body["reason"] = json!("a test");
        }
        body
    }
}

/// The next request of a sender.
#[derive(Debug)]
struct Request {
    items: Vec<Item>,
    is_atomic: bool,
}

impl Request {
    fn random(sender: usize, number: usize, rng: &mut StdRng) -> Self {
        let count = if sender.is_multiple_of(3) {
            1
        } else {
            rng.random_range(2..=BATCH_ITEMS_MAX)
        };
        let items = (0..count)
            .map(|index| Item::random(format!("s{sender}:{number}:{index}"), rng))
            .collect();
        Self {
            items,
            is_atomic: sender % 3 == 2,
        }
    }

    fn signed(&self, attempt: usize) -> Signed {
        if let [item] = &self.items[..] {
            return Signed::post(&format!("/internal/v1/{}s", item.kind), &item.body(attempt));
        }
        let with_kind = |item: &Item| {
            let mut body = item.body(attempt);
            body["kind"] = json!(item.kind);
            body
        };
        let entries: Vec<Value> = self.items.iter().map(with_kind).collect();
        let path = if self.is_atomic {
            "/internal/v1/batch?atomic=true"
        } else {
            "/internal/v1/batch"
        };
        Signed::post(path, &json!({"entries": entries}))
    }
}

/// An acknowledged entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    user_id: u64,
    version: u64,
    currency: &'static str,
    minor: i64,
}

impl Acknowledged {
    fn is(&self, stored: &StoredEntry) -> bool {
        (stored.user_id, stored.version) == (self.user_id as i64, self.version as i64)
            && (stored.currency.as_str(), stored.amount) == (self.currency, self.minor)
    }
}

/// The answers so far.
#[derive(Debug, Default)]
pub struct Record {
    pub acknowledged: BTreeMap<String, Acknowledged>,
    /// Entries acknowledged since the last check.
    since: Vec<String>,
    /// Refused for insufficient funds; must not be stored.
    pub refused: BTreeSet<String>,
    /// Acknowledged entries that an earlier attempt had already stored.
    pub duplicates: u64,
    /// Repetitions of requests.
    pub repeats: u64,
}

impl Record {
    /// Records a final answer: 200, or 422 for insufficient funds.
    fn note(&mut self, request: &Request, answer: &Answer) {
        let is_batch = request.items.len() > 1;
        if answer.status != 200 {
            answer.problem(422, "insufficient_funds");
            assert!(!is_batch || request.is_atomic, "{answer:?}");
            return self.refused.extend(request.items.iter().map(Item::key));
        }
        let body = answer.ok();
        let results = if is_batch {
            body["results"].as_array().expect("results").clone()
        } else {
            vec![body]
        };
        assert_eq!(results.len(), request.items.len());
        for (item, result) in request.items.iter().zip(&results) {
            if result["status"] == "rejected" {
                assert_eq!(result["code"], "insufficient_funds", "{result}");
                self.refused.insert(item.key());
                continue;
            }
            self.duplicates +=
                u64::from(result["status"] == "duplicate" || result["duplicate"] == true);
            let version = result["version"]
                .as_u64()
                .unwrap_or_else(|| panic!("a version in {result}"));
            let entry = Acknowledged {
                user_id: item.user_id,
                version,
                currency: item.currency,
                minor: item.minor,
            };
            assert_eq!(
                self.acknowledged.insert(item.key(), entry),
                None,
                "acknowledged twice: {result}"
            );
            self.since.push(item.key());
        }
    }
}

/// A load under way.
pub struct Load {
    pub record: Arc<Mutex<Record>>,
    /// Requests that may be sent.
    allowed: Arc<Semaphore>,
    /// Answered requests not yet waited for.
    answered: Arc<Semaphore>,
    is_over: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the senders; they send nothing until allowed.
    pub fn start(app: &TestApp) -> Self {
        Self::over(&[app])
    }

    /// The same, with senders alternating between several services.
    pub fn over(apps: &[&TestApp]) -> Self {
        let mut load = Self {
            record: Arc::default(),
            allowed: Arc::new(Semaphore::new(0)),
            answered: Arc::new(Semaphore::new(0)),
            is_over: Arc::default(),
            senders: Vec::new(),
        };
        for index in 0..SENDERS {
            let (record, allowed, answered) = (
                load.record.clone(),
                load.allowed.clone(),
                load.answered.clone(),
            );
            let (is_over, sender) = (load.is_over.clone(), apps[index % apps.len()].sender());
            let mut rng = dice_of(index);
            load.senders.push(tokio::spawn(async move {
                for number in 0.. {
                    allowed.acquire().await.expect("never closed").forget();
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    send(&sender, &Request::random(index, number, &mut rng), &record).await;
                    answered.add_permits(1);
                }
            }));
        }
        load
    }

    /// Allows `requests` requests and one more per sender, and waits until `requests` are answered,
    /// so that all senders are active.
    pub async fn go_on(&self, requests: usize) {
        self.answered.forget_permits(Semaphore::MAX_PERMITS);
        self.allowed.forget_permits(Semaphore::MAX_PERMITS);
        self.allowed.add_permits(requests + SENDERS);
        let count = u32::try_from(requests).expect("a small number");
        let answered = tokio::time::timeout(PATIENCE, self.answered.acquire_many(count)).await;
        answered
            .expect("the load goes on")
            .expect("never closed")
            .forget();
    }

    /// Asserts that each entry acknowledged since the last check is in the ledger once, as
    /// acknowledged.
    pub fn assert_acknowledged_are_there(&self, app: &TestApp) {
        let (since, expected) = {
            let mut record = self.record.lock().expect("no panic holds it");
            let since = std::mem::take(&mut record.since);
            let expected: Vec<Acknowledged> = since
                .iter()
                .map(|key| record.acknowledged[key].clone())
                .collect();
            (since, expected)
        };
        if since.is_empty() {
            return;
        }
        let stored = app.database.entries(Some(&since));
        assert_eq!(stored.len(), since.len(), "each once");
        let stored: BTreeMap<&str, &StoredEntry> =
            stored.iter().map(|e| (e.event_id.as_str(), e)).collect();
        for (key, expected) in since.iter().zip(expected) {
            let found = stored
                .get(key.as_str())
                .unwrap_or_else(|| panic!("{key} is lost"));
            assert!(
                expected.is(found),
                "{key}: acknowledged was {expected:?}, stored is {found:?}"
            );
        }
    }

    /// Lets every sender finish its request, and returns the record.
    pub async fn finish(self) -> Record {
        self.is_over.store(true, Ordering::Relaxed);
        self.allowed.add_permits(SENDERS);
        for sender in self.senders {
            sender.await.expect("no sender panicked");
        }
        let record = Arc::into_inner(self.record).expect("the senders are gone");
        record.into_inner().expect("no panic holds it")
    }
}

/// Sends until there is a final answer, also when the service is killed meanwhile.
async fn send(sender: &Sender, request: &Request, record: &Mutex<Record>) {
    let start = Instant::now();
    for attempt in 0.. {
        match sender.try_send(request.signed(attempt)).await {
            Ok(answer) if answer.status != 503 => {
                return record
                    .lock()
                    .expect("no panic holds it")
                    .note(request, &answer);
            }
            Ok(_) | Err(_) => record.lock().expect("no panic holds it").repeats += 1,
        }
        assert!(
            start.elapsed() < 3 * PATIENCE,
            "never answered: {request:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Asserts that the ledger has exactly the recorded entries, each once, and that balances are their
/// sums.
pub async fn assert_ledger_is(app: &TestApp, record: &Record) {
    let stored = app.database.entries(None);
    assert_eq!(
        stored.len(),
        record.acknowledged.len(),
        "each acknowledged entry is there once, and nothing else"
    );
    let mut sums: BTreeMap<(u64, &str), i64> = BTreeMap::new();
    for entry in &stored {
        assert!(
            !record.refused.contains(&entry.event_id),
            "refused and stored: {entry:?}"
        );
        let expected = record
            .acknowledged
            .get(&entry.event_id)
            .unwrap_or_else(|| panic!("made up: {entry:?}"));
        assert!(
            expected.is(entry),
            "acknowledged was {expected:?}, stored is {entry:?}"
        );
        *sums
            .entry((expected.user_id, expected.currency))
            .or_default() += expected.minor;
    }
    for user_id in 1..=USERS {
        let shown = |currency| {
            let sum = sums.get(&(user_id, currency)).copied().unwrap_or_default();
            format!("{}.{:09}", sum / 1_000_000_000, sum % 1_000_000_000)
        };
        let balance = app
            .backend(&format!("/internal/v1/users/{user_id}/balance?fresh=true"))
            .await
            .ok();
        let version = stored
            .iter()
            .filter(|entry| entry.user_id == user_id as i64)
            .count();
        assert_eq!(balance["version"], version);
        assert_eq!(
            balance["balances"],
            json!({"TON": shown("TON"), "UNI": shown("UNI")})
        );
    }
    app.assert_ledger_holds();
}
