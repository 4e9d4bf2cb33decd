//! An imitation of TON Center's v3 API over chains that a test makes, with the faults that it asks for. Every answer that is
//! no fault is checked against the API's shapes, and every request against its parameters: a mistake fails the test at its end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::toncenter::{self, ERROR, JETTON_WALLETS, Shape, TRANSACTIONS};

/// What one answer does instead of being right.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, with this `Retry-After`.
    Status(u16, Option<u64>),
    /// Half of the JSON.
    CutJson,
    /// A page of a proxy.
    Html,
    /// The connection ends.
    HangUp,
    /// As it was when the chain had so many transactions: a node that is behind.
    Behind(usize),
    /// In another order, and all of it twice.
    Shuffled,
    /// Without its first transaction.
    WithoutFirst,
    /// The filter is not known: other accounts' transactions, too.
    Foreign,
    /// No answer for so long.
    Slow(Duration),
}

/// The length of a page: what the API gives unasked, and at most.
const PAGE_TRANSACTIONS: usize = 10;
const PAGE_TRANSACTIONS_MAX: usize = 1_000;

#[derive(Default)]
struct Inner {
    transactions: Vec<Value>,
    wallets: Vec<Value>,
    faults: VecDeque<Fault>,
    requests: Vec<(Instant, String, Option<String>)>,
    page_max: Option<usize>,
    mistakes: Vec<String>,
}

/// The imitation; gone when this is dropped.
pub struct Chain {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

/// An account's raw address.
pub fn address(fill: u8) -> String {
    format!("0:{}", hex::encode_upper([fill; 32]))
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.serving.abort();
        if !std::thread::panicking() {
            let mistakes = &self.inner().mistakes;
            assert!(mistakes.is_empty(), "{mistakes:#?}");
        }
    }
}

impl Chain {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr: SocketAddr = listener.local_addr().expect("an address");
        let inner = Arc::new(Mutex::new(Inner::default()));
        let shared = inner.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self {
            url: format!("http://{addr}/api/v3"),
            inner,
            serving,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A simple transfer with a comment; answers the transaction's hash in hex.
    pub fn deposit(&self, account: &str, value: &str, comment: &str) -> String {
        self.push(account, value, |message| {
            message["message_content"] = json!({
                "hash": hash("content"), "body": "te6cckEBAQEAAgAAAEysuc0=",
                "decoded": {"type": "text_comment", "@type": "text_comment", "comment": comment}
            });
        })
    }

    /// A transaction that a test shapes; answers its hash in hex.
    pub fn push(&self, account: &str, value: &str, shape: impl FnOnce(&mut Value)) -> String {
        let mut inner = self.inner();
        let number = inner.transactions.len() + 1;
        let previous = inner
            .transactions
            .iter()
            .rev()
            .find(|one| one["account"] == account);
        let (prev_lt, prev_hash) = previous.map_or_else(
            || (json!("0"), json!(STANDARD.encode([0; 32]))),
            |one| (one["lt"].clone(), one["hash"].clone()),
        );
        let own = hash(&format!("{account} {number}"));
        let mut transaction = json!({
            "account": account, "hash": own, "lt": (50_000_000_000_000_u64 + 7 * number as u64).to_string(),
            "now": 1_764_300_000 + number, "mc_block_seqno": 41_000_000 + number, "trace_id": own,
            "prev_trans_hash": prev_hash, "prev_trans_lt": prev_lt,
            "orig_status": "active", "end_status": "active",
            "description": {
                "type": "ord", "aborted": false, "destroyed": false, "credit_first": true,
                "compute_ph": {"skipped": false, "success": true, "exit_code": 0}
            },
            "in_msg": {
                "hash": hash("message"), "source": address(0x77), "destination": account, "value": value,
                "fwd_fee": "266669", "created_lt": "50000000000000", "created_at": "1764300000",
                "opcode": null, "decoded_opcode": null, "bounce": true, "bounced": false,
                "message_content": {"hash": hash("content"), "body": "te6cckEBAQEAAgAAAEysuc0=", "decoded": {"@type": "empty_cell"}},
                "init_state": null
            },
            "out_msgs": [], "emulated": false, "finality": "finalized"
        });
        shape(&mut transaction["in_msg"]);
        // What a test writes beside the message belongs to the transaction.
        if let Some(outer) = transaction["in_msg"]
            .as_object_mut()
            .and_then(|message| message.remove("transaction"))
        {
            for (key, value) in outer.as_object().expect("fields") {
                transaction[key] = value.clone();
            }
        }
        inner.transactions.push(transaction);
        hex::encode(STANDARD.decode(own).expect("base64"))
    }

    /// A jetton wallet that exists from now on.
    pub fn wallet(&self, owner: &str, master: &str, address: &str) {
        self.inner().wallets.push(json!({
            "address": address, "owner": owner, "jetton": master, "balance": "0", "last_transaction_lt": "1"
        }));
    }

    /// The next answers, one after the other.
    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner().faults.extend(faults);
    }

    /// Pages are no longer than this, whatever is asked for.
    pub fn pages_of(&self, transactions: usize) {
        self.inner().page_max = Some(transactions);
    }

    /// Makes what was not final final.
    pub fn finalize(&self) {
        for transaction in &mut self.inner().transactions {
            transaction["emulated"] = json!(false);
            transaction["finality"] = json!("finalized");
        }
    }

    /// How many faults are left.
    pub fn faults_left(&self) -> usize {
        self.inner().faults.len()
    }

    /// When each request came in, its path and query, and its key.
    pub fn requests(&self) -> Vec<(Instant, String, Option<String>)> {
        self.inner().requests.clone()
    }
}

/// 32 bytes in standard base64.
fn hash(of: &str) -> String {
    STANDARD.encode(Sha256::digest(of))
}

async fn serve(mut stream: TcpStream, inner: Arc<Mutex<Inner>>) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-api-key")
            .then(|| value.to_owned())
    });
    let (answer, wait) = {
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.requests.push((Instant::now(), target.clone(), key));
        let fault = inner.faults.pop_front();
        let wait = match fault {
            Some(Fault::Slow(wait)) => Some(wait),
            _ => None,
        };
        (inner.answer(&target, fault), wait)
    };
    if let Some(wait) = wait {
        tokio::time::sleep(wait).await;
    }
    if let Some(answer) = answer {
        // Ignore errors: the watcher may have been killed.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn http(status: u16, extra: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

impl Inner {
    /// `None` hangs up.
    fn answer(&mut self, target: &str, fault: Option<Fault>) -> Option<String> {
        match fault {
            Some(Fault::Status(status, retry_after)) => {
                let extra = retry_after.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
                let body = json!({"ok": false, "result": "Ratelimit exceed", "code": status});
                return Some(self.json(status, &extra, &body, &ERROR));
            }
            Some(Fault::Html) => return Some(http(502, "", "text/html", "<html>Bad Gateway")),
            Some(Fault::HangUp) => return None,
            _ => {}
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        for (name, _) in &query {
            if !toncenter::is_known_parameter(path, name) {
                self.mistakes.push(format!("{path} knows no {name}"));
            }
        }
        let (status, body, shape) = match path {
            "/api/v3/transactions" if limit(&query) > PAGE_TRANSACTIONS_MAX => (
                422,
                json!({"error": "limit is not allowed: exceeded maximum limit"}),
                ERROR,
            ),
            "/api/v3/transactions" => {
                let page = self.page(&query, fault.as_ref());
                (
                    200,
                    json!({"transactions": page, "address_book": {}}),
                    TRANSACTIONS,
                )
            }
            "/api/v3/jetton/wallets" => {
                (200, json!({"jetton_wallets": self.wallets}), JETTON_WALLETS)
            }
            _ => (404, json!({"error": "not found"}), ERROR),
        };
        if let Some(Fault::CutJson) = fault {
            let text = body.to_string();
            return Some(http(200, "", "application/json", &text[..text.len() / 2]));
        }
        Some(self.json(status, "", &body, &shape))
    }

    /// An answer whose body is checked.
    fn json(&mut self, status: u16, extra: &str, body: &Value, shape: &Shape) -> String {
        self.mistakes.extend(toncenter::mistakes(body, shape));
        http(status, extra, "application/json", &body.to_string())
    }

    fn page(&self, query: &[(String, String)], fault: Option<&Fault>) -> Vec<Value> {
        let account = parameter(query, "account").unwrap_or_default();
        let known = match fault {
            Some(Fault::Behind(known)) => self.transactions.len().min(*known),
            _ => self.transactions.len(),
        };
        // Logical times rise over all accounts.
        let before = |lt: u64| self.transactions[..known].partition_point(|one| lt_of(one) < lt);
        let start = number(query, "start_lt").map_or(0, before);
        let end = number(query, "end_lt").map_or(known, |end| before(end + 1));
        let is_foreign = matches!(fault, Some(Fault::Foreign));
        let asked = self.transactions[start..end.max(start)]
            .iter()
            .filter(|one| {
                let own = one["account"].as_str();
                is_foreign || own.is_some_and(|own| own.eq_ignore_ascii_case(&account))
            });
        let limit = limit(query).min(self.page_max.unwrap_or(usize::MAX));
        let mut page: Vec<Value> = if parameter(query, "sort").as_deref() == Some("asc") {
            asked.take(limit).cloned().collect()
        } else {
            asked.rev().take(limit).cloned().collect()
        };
        match fault {
            Some(Fault::Shuffled) => {
                let twice = page.clone();
                page.reverse();
                page.extend(twice);
            }
            Some(Fault::WithoutFirst) if !page.is_empty() => drop(page.remove(0)),
            _ => {}
        }
        page
    }
}

fn parameter(query: &[(String, String)], name: &str) -> Option<String> {
    let found = query.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.clone())
}

fn number(query: &[(String, String)], name: &str) -> Option<u64> {
    parameter(query, name)?.parse().ok()
}

fn limit(query: &[(String, String)]) -> usize {
    let asked = number(query, "limit").and_then(|limit| usize::try_from(limit).ok());
    asked.unwrap_or(PAGE_TRANSACTIONS)
}

fn lt_of(transaction: &Value) -> u64 {
    let lt = transaction["lt"].as_str().and_then(|lt| lt.parse().ok());
    lt.expect("digits")
}
