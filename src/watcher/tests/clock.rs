//! A watcher whose clock is set forward and back while it runs.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::spawn;
use actix_web::web::{Bytes, Data, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{Settings, Sources};
use crate::credentials::access::CurrentAccess;
use crate::credentials::webhook::Signed;
use crate::dev_chain::{self, DevChain};
use crate::domain::{Amount, UserId};
use crate::watcher::state::State;
use crate::watcher::{Options, run};

const SECRET: &str = "whsec_dGVzdC13ZWJob29rLXNlY3JldC1vZi0zMi1ieXRlcyE=";
const TOLERANCE_S: u64 = 300;
const DAY_US: i64 = 86_400_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// The watcher's wall, which the test sets.
static WALL_US: AtomicI64 = AtomicI64::new(0);

/// A service whose clock is right: it takes deposits whose signature is, and counts the others.
#[derive(Default)]
struct Books {
    /// How often each hash was sent.
    sent: Mutex<BTreeMap<String, usize>>,
    out_of_range: AtomicUsize,
}

impl Books {
    fn sent(&self) -> BTreeMap<String, usize> {
        let sent = self.sent.lock();
        sent.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn deposits(&self) -> usize {
        self.sent().len()
    }

    fn out_of_range(&self) -> usize {
        self.out_of_range.load(Ordering::SeqCst)
    }

    /// Whether the hash is new.
    fn take(&self, entry: &Value) -> bool {
        let hash = entry["tx_hash"].as_str().expect("a hash").to_owned();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let times = sent.entry(hash).or_default();
        *times += 1;
        *times == 1
    }
}

async fn deposits(books: Data<Books>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let now_s = Clock::system().now_s();
    if let Err(error) = signed.verify(
        &access().now().auth.webhook_secrets,
        &body,
        now_s,
        TOLERANCE_S,
    ) {
        books.out_of_range.fetch_add(1, Ordering::SeqCst);
        let problem = json!({"code": "timestamp_out_of_range", "detail": error.to_string()});
        return HttpResponse::Unauthorized().json(problem);
    }
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let Some(entries) = body["entries"].as_array() else {
        return HttpResponse::Ok().json(json!({"duplicate": !books.take(&body)}));
    };
    let results = entries.iter().enumerate().map(|(index, entry)| {
        let status = if books.take(entry) {
            "accepted"
        } else {
            "duplicate"
        };
        json!({"index": index, "status": status})
    });
    HttpResponse::Ok().json(json!({"results": results.collect::<Vec<_>>()}))
}

fn access() -> Arc<CurrentAccess> {
    CurrentAccess::take(&mut settings())
}

fn settings() -> Settings {
    let secret = (
        "BALANCE_AUTH__WEBHOOK_SECRETS".to_owned(),
        SECRET.to_owned(),
    );
    Settings::load(&Sources {
        dev_file: None,
        file: None,
        environment: [secret].into(),
    })
    .expect("settings")
}

fn service(books: Data<Books>) -> (String, ServerHandle) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", socket.local_addr().expect("an address"));
    let application = move || {
        App::new()
            .app_data(books.clone())
            .route("/internal/v1/deposits", post().to(deposits))
            .route("/internal/v1/batch", post().to(deposits))
    };
    let server = HttpServer::new(application)
        .workers(1)
        .disable_signals()
        .listen(socket)
        .expect("it listens")
        .run();
    let handle = server.handle();
    spawn(server);
    (url, handle)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waited).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

#[actix_web::test]
async fn a_clock_that_jumps_both_ways_loses_and_doubles_nothing() {
    let real_us = || Clock::system().wall().us();
    WALL_US.store(real_us(), Ordering::SeqCst);
    let chain = Arc::new(DevChain::new(Clock::system(), Duration::ZERO));
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let api_url = format!("http://{}/api/v3", socket.local_addr().expect("an address"));
    let api = dev_chain::listen(chain.clone(), socket).expect("it listens");
    let api_handle = api.handle();
    spawn(api);
    let books = Data::new(Books::default());
    let (url, service_handle) = service(books.clone());
    let options = Options::for_imitation(&settings(), access(), chain.account(), api_url, url);
    let options = options.expect("there is TON");
    let state = State::in_memory().expect("memory");
    let watching = {
        let state = state.clone();
        spawn(async move { run(&options, state, Clock::set_by(&WALL_US), false, false).await })
    };
    let user = UserId::new(184).expect("an id");
    let pay = || chain.pay(user, Amount::from_minor(1)).expect("room");

    pay();
    until("the first deposit", || books.deposits() == 1).await;
    let mut deposits = 1;
    for jump_us in [DAY_US, -DAY_US] {
        // The service takes no signature of another day: it is sent again until the clock is right.
        let refused = books.out_of_range();
        WALL_US.store(real_us() + jump_us, Ordering::SeqCst);
        pay();
        until("a refusal", || books.out_of_range() > refused).await;
        pay();
        assert_eq!(books.deposits(), deposits);
        WALL_US.store(real_us(), Ordering::SeqCst);
        deposits += 2;
        until("what was refused", || books.deposits() == deposits).await;
    }
    // Within the tolerance nothing is refused.
    let refused = books.out_of_range();
    for jump_us in [-60_000_000, 60_000_000] {
        WALL_US.store(real_us() + jump_us, Ordering::SeqCst);
        pay();
        deposits += 1;
        until("a deposit", || books.deposits() == deposits).await;
    }
    assert_eq!(books.out_of_range(), refused);
    let sent = books.sent();
    assert!(sent.values().all(|times| *times == 1), "{sent:?}");

    watching.abort();
    api_handle.stop(false).await;
    service_handle.stop(false).await;
}
