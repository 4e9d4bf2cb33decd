//! `GET /admin/v1/sessions`: every open session, page by page.

use serde_json::{Value, json};

use crate::support::{Database, TestApp, eventually, on_sqlite};
use crate::{assert_keys, assert_timestamp};

on_sqlite![
    sessions_are_listed_page_by_page,
    sent_and_displayed_versions_are_listed
];

const KEYS: [&str; 8] = [
    "user_id",
    "id",
    "connected_at",
    "last_version",
    "displayed_version",
    "address",
    "user_agent",
    "is_lagging",
];

fn users(answer: &Value) -> Vec<u64> {
    let sessions = answer["sessions"].as_array().expect("a list");
    sessions
        .iter()
        .map(|session| session["user_id"].as_u64().expect("a user"))
        .collect()
}

async fn sessions_are_listed_page_by_page(database: Database) {
    let app = TestApp::start(database).await;
    assert_eq!(
        app.admin("/admin/v1/sessions").await.ok(),
        json!({"sessions": [], "silent": [], "next_after": null})
    );
    let mut open = Vec::new();
    for user_id in [3, 1, 2, 3, 1, 3] {
        open.push(app.session(user_id).await.0);
    }
    let list = async |query: &str| app.admin(&format!("/admin/v1/sessions{query}")).await.ok();
    let all = list("").await;
    assert_eq!(
        (users(&all), &all["next_after"]),
        (vec![1, 1, 2, 3, 3, 3], &json!(3))
    );
    for session in all["sessions"].as_array().expect("a list") {
        assert_keys(session, &KEYS);
        assert_timestamp(&session["connected_at"]);
    }
    let first = list("?limit=4").await;
    assert_eq!(
        (users(&first), &first["next_after"]),
        (vec![1, 1, 2], &json!(2)),
        "a user is not torn"
    );
    assert_eq!(users(&list("?limit=4&after=2").await), [3, 3, 3]);
    let behind = list("?after=3").await;
    assert_eq!(
        (users(&behind), &behind["next_after"]),
        (vec![], &Value::Null)
    );
    assert_eq!(
        users(&list("?limit=2&after=2").await),
        [3, 3],
        "never more than asked for"
    );
    for ws in open {
        ws.close().await;
    }
    eventually("no session is left", async || {
        users(&list("").await).is_empty().then_some(())
    })
    .await;
}

async fn sent_and_displayed_versions_are_listed(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    ws.send_json(json!({"type": "displayed", "version": 1}))
        .await;
    let session = eventually("it shows version 1", async || {
        let session = app.admin("/admin/v1/sessions").await.ok()["sessions"][0].clone();
        (session["displayed_version"] == 1).then_some(session)
    })
    .await;
    assert_eq!(
        (&session["last_version"], &session["address"]),
        (&json!(1), &json!("127.0.0.1"))
    );
    assert_eq!(
        app.admin("/admin/v1/actors/1").await.ok()["sessions"][0]["id"],
        session["id"]
    );
}
