//! "Pages that have not moved yet" of docs/migration.md: old pages at the old application's `/ws` and its old endpoint, by the
//! page's own JavaScript, over restarts of either side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::old_application::OldApplication;
use crate::support::{
    Answer, Database, Event, Sender, Signed, TestApp, WEBHOOK_SECRET, Ws, eventually,
    on_both_databases, run_program,
};

on_both_databases![
    old_pages_are_shown_each_commit_once_and_in_order_over_restarts_of_both,
    old_pages_begin_anew_when_the_ledger_does,
    an_old_page_sees_its_own_user_alone_and_never_a_number_for_an_error,
];

/// No database of its own: these pages show balances of the service.
const NO_DATABASE: &str = "";

const USERS: u64 = 3;

/// A page of a user, which knows nothing of versions. The test does.
struct OldPage {
    user_id: u64,
    ws: Ws,
    /// What this connection was shown.
    shown: Vec<Value>,
}

impl OldPage {
    /// Connects and subscribes, again until it is shown a balance, as old pages do.
    async fn open(at: &OldApplication, user_id: u64) -> Self {
        eventually("the page is shown a balance", async || {
            Self::try_open(at, user_id).await
        })
        .await
    }

    async fn try_open(at: &OldApplication, user_id: u64) -> Option<Self> {
        let cookie = format!("session=of-{user_id}");
        let dialled = Ws::dial(at.addr, &[("cookie", &cookie)]).await.ok()?;
        let mut ws = dialled.expect("a WebSocket");
        ws.send_json(json!({"type": "subscribe", "userId": user_id}))
            .await;
        match ws.next().await {
            Event::Frame(first) => Some(Self {
                user_id,
                ws,
                shown: vec![first],
            }),
            Event::Closed { code, reason } => {
                assert_eq!(code, 1013, "{reason}");
                None
            }
            Event::Broken => None,
        }
    }

    fn version(&self) -> u64 {
        let last = self.shown.last().expect("a first balance");
        last["version"].as_u64().expect("a version")
    }

    /// Reads until this version, if it was not shown yet.
    async fn read_to(&mut self, version: u64) {
        while self.version() < version {
            let update = self.ws.next_frame("balance_update").await;
            self.shown.push(update);
        }
    }

    /// Asserts that it was shown what the ledger has, each commit once and in order.
    async fn assert_right(&self, app: &TestApp) {
        let history = history(app, self.user_id).await;
        let first = self.shown[0]["version"].as_u64().expect("a version");
        for (version, shown) in (first..).zip(&self.shown) {
            let (ton, uni) = &history[&version];
            let expected = json!({
                "type": "balance_update", "userId": self.user_id, "version": version,
                "balance_ton": ton, "balance_uni": uni,
            });
            assert_eq!(shown, &expected);
        }
    }
}

/// A user's balances by version, from the ledger.
async fn history(app: &TestApp, user_id: u64) -> BTreeMap<u64, (String, String)> {
    let zero = || "0.000000000".to_owned();
    let mut balances = (zero(), zero());
    let mut history = BTreeMap::from([(0, balances.clone())]);
    for entry in app.entries(user_id).await.iter().rev() {
        let after = entry["balance_after"]
            .as_str()
            .expect("a balance")
            .to_owned();
        match entry["currency"].as_str() {
            Some("TON") => balances.0 = after,
            _ => balances.1 = after,
        }
        history.insert(
            entry["version"].as_u64().expect("a version"),
            balances.clone(),
        );
    }
    history
}

/// Changes of all users, until it is over. Dense at first, then with pauses: a user's history is read as one page.
struct Traffic {
    is_dense: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Traffic {
    fn start(sender: Sender) -> Self {
        let [is_dense, is_over] = [true, false].map(|is| Arc::new(AtomicBool::new(is)));
        let sent = Arc::new(AtomicU64::new(0));
        let (dense, over, count) = (is_dense.clone(), is_over.clone(), sent.clone());
        let task = tokio::spawn(async move {
            for number in 0_u64.. {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (what, currency) =
                    [("deposits", "TON"), ("rewards", "UNI")][(number % 2) as usize];
                let body = json!({
                    "event_id": format!("t{number}"), "user_id": number % USERS + 1,
                    "currency": currency, "amount": "0.000000001",
                });
                sender
                    .insist(Signed::post(&format!("/internal/v1/{what}"), &body))
                    .await;
                count.fetch_add(1, Ordering::SeqCst);
                if !dense.load(Ordering::SeqCst) {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        });
        Self {
            is_dense,
            is_over,
            sent,
            task,
        }
    }

    /// Waits for this many more changes.
    async fn more(&self, count: u64) {
        let least = self.sent.load(Ordering::SeqCst) + count;
        let is_done = || self.sent.load(Ordering::SeqCst) >= least;
        eventually("traffic", async || is_done().then_some(())).await;
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.task.await.expect("every change was acknowledged");
    }
}

/// Reads all pages to what the ledger has, and asserts what they were shown.
async fn assert_all_right(app: &TestApp, pages: &mut [OldPage]) {
    for page in pages {
        let newest = history(app, page.user_id).await;
        page.read_to(*newest.keys().max().expect("a version")).await;
        page.assert_right(app).await;
    }
}

async fn old_pages_are_shown_each_commit_once_and_in_order_over_restarts_of_both(
    database: Database,
) {
    let mut app = TestApp::start(database).await;
    let Some(mut old) = OldApplication::start(&app, NO_DATABASE) else {
        return;
    };
    let traffic = Traffic::start(app.sender());
    // Changes come while the first balances are read.
    let pages = (0..60).map(|number| OldPage::open(&old, number % USERS + 1));
    let mut pages = join_all(pages).await;
    traffic.is_dense.store(false, Ordering::SeqCst);
    traffic.more(20).await;
    // The service: in order, and not.
    assert!(app.stop().await.success());
    app.start_again().await;
    traffic.more(20).await;
    app.kill();
    app.start_again().await;
    traffic.more(20).await;
    traffic.end().await;
    assert_all_right(&app, &mut pages).await;

    // The application.
    old.kill();
    for page in &mut pages {
        let Event::Broken = page.ws.next().await else {
            panic!("more was shown than the ledger has");
        };
    }
    app.accepted("deposits", 1, "meanwhile", "5").await;
    old.start_again();
    let reopened = pages.iter().map(|page| OldPage::open(&old, page.user_id));
    let reopened = join_all(reopened).await;
    for (page, before) in reopened.iter().zip(&pages) {
        assert!(page.version() >= before.version());
    }
    pages = reopened;
    app.accepted("deposits", 1, "after", "5").await;
    app.accepted("deposits", 2, "after2", "5").await;
    assert_all_right(&app, &mut pages).await;
    // A page that subscribes again is shown its balance again.
    let page = &mut pages[0];
    page.ws
        .send_json(json!({"type": "subscribe", "userId": page.user_id}))
        .await;
    let again = page.ws.next_frame("balance_update").await;
    assert_eq!(&again, page.shown.last().expect("shown"));
    // One that does not read is cut off, and the others are not.
    let cookie = [("cookie", "session=of-1"), ("x-test", "reads nothing")];
    let mut stuck = Ws::dial(old.addr, &cookie)
        .await
        .expect("dialled")
        .expect("a WebSocket");
    stuck
        .send_json(json!({"type": "subscribe", "userId": 1}))
        .await;
    let Event::Broken = stuck.next().await else {
        panic!("a page that does not read was sent more");
    };
    app.accepted("deposits", 1, "last", "5").await;
    assert_all_right(&app, &mut pages).await;
}

async fn old_pages_begin_anew_when_the_ledger_does(database: Database) {
    let mut app = TestApp::start(database).await;
    let Some(old) = OldApplication::start(&app, NO_DATABASE) else {
        return;
    };
    app.accepted("deposits", 1, "d1", "1").await;
    let mut page = OldPage::open(&old, 1).await;
    assert!(app.stop().await.success());
    let arguments = ["migrate", "--new-epoch", "--config", "config.toml"];
    let migrated = run_program(app.dir.path(), &arguments, &[], b"");
    assert!(migrated.status.success(), "{migrated:?}");
    app.start_again().await;
    let (code, _) = page.ws.closed().await;
    assert_eq!(code, 1012);
    let mut page = OldPage::open(&old, 1).await;
    app.accepted("deposits", 1, "d2", "1").await;
    page.read_to(2).await;
    page.assert_right(&app).await;
    assert!(old.log().contains("another_epoch"));
}

async fn an_old_page_sees_its_own_user_alone_and_never_a_number_for_an_error(database: Database) {
    let mut app = TestApp::start(database).await;
    let Some(old) = OldApplication::start(&app, NO_DATABASE) else {
        return;
    };
    app.accepted("deposits", 1, "d1", "1").await;
    let page = OldPage::open(&old, 1).await;
    let http = app.http.clone();
    let ask = async |cookie: &str, user_id: &str| {
        let url = format!(
            "http://{}/api/v2/wallet/balance?user_id={user_id}",
            old.addr
        );
        let answer = http.get(url).header("cookie", cookie).send().await;
        Answer::read(answer.expect("an answer"))
            .await
            .expect("whole")
    };
    let answer = ask("session=of-1", "1").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut expected = page.shown[0].clone();
    expected.as_object_mut().expect("an object").remove("type");
    assert_eq!(answer.ok(), expected);
    assert!(!answer.text.contains(WEBHOOK_SECRET) && !answer.text.contains("whsec"));
    assert_eq!(ask("", "1").await.status, 401);
    for other in ["2", "01", "1&user_id=2", ""] {
        assert_eq!(ask("session=of-1", other).await.status, 403, "{other}");
    }
    for (cookie, asked) in [
        ("session=of-1", json!(2)),
        ("session=of-1", json!("2")),
        ("session=of-1", json!(null)),
        ("", json!(1)),
        ("", json!(0)),
        ("", json!(null)),
    ] {
        let dialled = Ws::dial(old.addr, &[("cookie", cookie)]).await;
        let mut ws = dialled.expect("dialled").expect("a WebSocket");
        for other in ["nonsense", "null", "5", "{}", r#"{"type":"ping"}"#] {
            ws.send_text(other).await;
        }
        let subscribe = json!({"type": "subscribe", "userId": asked});
        ws.send_json(subscribe).await;
        ws.assert_closed(1008, "").await;
    }
    app.kill();
    assert_eq!(ask("session=of-1", "1").await.status, 503);
    assert!(OldPage::try_open(&old, 1).await.is_none());
}
