//! Sign-in with `linked`: links, users that must be created first, and a ledger that is away.

use serde_json::json;

use super::{assert_admitted, assert_refused, auth, link, read, sign_in, telegram, upgrade};
use crate::support::{
    Database, Event, InitData, Signed, eventually, on_both_databases, on_postgres, token,
};

on_both_databases![
    only_a_linked_id_signs_in_and_as_the_user_it_is_linked_to,
    a_session_is_extended_only_by_its_own_users_init_data,
    without_auto_create_a_telegram_id_creates_no_user,
];
on_postgres![
    while_the_ledger_is_away_no_sign_in_is_refused_as_wrong,
    messages_during_a_lookup_are_handled_afterwards,
    a_session_in_lookup_ends_when_the_service_stops,
    an_open_session_goes_on_while_its_extension_is_looked_up,
];

/// Blocks all reads of links until dropped.
const LOCK: &str = "LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE";

async fn only_a_linked_id_signs_in_and_as_the_user_it_is_linked_to(database: Database) {
    let app = telegram(database, "linked").start().await;
    app.accepted("deposits", 5, "d", "1").await;
    app.accepted("deposits", 777, "d2", "2").await;
    // A user with the same number exists, but is not the linked one.
    assert_refused(&app, &InitData::of(777).text(), "unauthenticated").await;
    link(&app, 5, 777).await;
    assert_admitted(&app, &InitData::of(777), 5).await;
    assert_refused(&app, &InitData::of(5).text(), "unauthenticated").await;
    // A user has one Telegram id: another replaces it, and the first may then be linked to another
    // user.
    link(&app, 5, 778).await;
    assert_admitted(&app, &InitData::of(778), 5).await;
    assert_refused(&app, &InitData::of(777).text(), "unauthenticated").await;
    link(&app, 777, 777).await;
    assert_admitted(&app, &InitData::of(777), 777).await;
    app.assert_ledger_holds();
}

async fn a_session_is_extended_only_by_its_own_users_init_data(database: Database) {
    let app = telegram(database, "linked")
        .set("auth.session_ttl_s", 3)
        .start()
        .await;
    link(&app, 5, 777).await;
    link(&app, 6, 778).await;
    let mut ws = auth(&app, &InitData::of(777).text()).await;
    ws.next_frame("hello").await;
    ws.next_frame("balance").await;
    ws.send_json(json!({"type": "auth", "token": token(5)}))
        .await;
    ws.assert_quiet().await;
    let mut witness = auth(&app, &InitData::of(777).text()).await;
    witness.assert_closed(4501, "token_expired").await;
    ws.assert_quiet().await;
    ws.send_json(json!({"type": "auth", "init_data": InitData::of(778).text()}))
        .await;
    ws.assert_closed(4501, "unauthenticated").await;
    // Also for one that is not linked at all.
    let mut ws = auth(&app, &InitData::of(777).text()).await;
    ws.next_frame("hello").await;
    ws.send_json(json!({"type": "auth", "init_data": InitData::of(779).text()}))
        .await;
    ws.assert_closed(4501, "unauthenticated").await;
}

async fn without_auto_create_a_telegram_id_creates_no_user(database: Database) {
    let app = telegram(database, "user_id")
        .set("accounts.auto_create", false)
        .start()
        .await;
    assert_refused(&app, &InitData::of(184).text(), "unauthenticated").await;
    app.send(Signed::new(reqwest::Method::PUT, "/internal/v1/users/184").body("{}"))
        .await
        .ok();
    assert_admitted(&app, &InitData::of(184), 184).await;
    app.backend("/internal/v1/users/185/balance")
        .await
        .problem(404, "unknown_user");
}

async fn while_the_ledger_is_away_no_sign_in_is_refused_as_wrong(database: Database) {
    let app = telegram(database, "linked")
        .set("database.timeout_ms", 1000)
        .start()
        .await;
    link(&app, 5, 777).await;
    let good = InitData::of(777).text();
    let mut open = auth(&app, &good).await;
    open.next_frame("hello").await;
    app.database.cut();
    sign_in(&app, &good)
        .await
        .problem(503, "ledger_unavailable");
    read(&app, &good).await.problem(503, "ledger_unavailable");
    auth(&app, &good)
        .await
        .assert_closed(1013, "overloaded")
        .await;
    upgrade(&app, &good)
        .await
        .assert_closed(1013, "overloaded")
        .await;
    open.send_json(json!({"type": "auth", "init_data": good}))
        .await;
    open.assert_closed(1013, "overloaded").await;
    // Invalid init data is refused without the ledger.
    assert_refused(
        &app,
        &InitData::of(777).by("1:other").text(),
        "unauthenticated",
    )
    .await;
    app.database.mend();
    eventually("they are let in again", async || {
        (sign_in(&app, &good).await.status == 200).then_some(())
    })
    .await;
    assert_admitted(&app, &InitData::of(777), 5).await;
}

async fn messages_during_a_lookup_are_handled_afterwards(database: Database) {
    let app = telegram(database, "linked")
        .set("database.timeout_ms", 30_000)
        .start()
        .await;
    link(&app, 5, 777).await;
    let held = app.database.hold(LOCK);
    let mut ws = app.ws(&[]).await;
    // An answer shows that the session is open; the next answer can only come after the lookup.
    ws.send_json(json!({"type": "auth"})).await;
    assert_eq!(ws.next_frame("error").await["code"], "invalid_message");
    ws.send_json(json!({"type": "auth", "init_data": InitData::of(777).text()}))
        .await;
    for id in 1..=3 {
        ws.send_json(json!({"type": "ping", "id": id})).await;
    }
    drop(held);
    assert_eq!(ws.next_frame("hello").await["user_id"], 5);
    let mut pongs = Vec::new();
    let mut has_snapshot = false;
    while pongs.len() < 3 || !has_snapshot {
        match ws.next().await {
            Event::Frame(frame) if frame["type"] == "pong" => pongs.push(frame["id"].clone()),
            Event::Frame(frame) => {
                assert_eq!(frame["reason"], "snapshot", "{frame}");
                has_snapshot = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pongs, [1, 2, 3]);
}

async fn a_session_in_lookup_ends_when_the_service_stops(database: Database) {
    let builder = telegram(database, "linked").set("database.timeout_ms", 30_000);
    let mut app = builder.set("limits.auth_timeout_ms", 30_000).start().await;
    link(&app, 5, 777).await;
    let held = app.database.hold(LOCK);
    let mut ws = auth(&app, &InitData::of(777).text()).await;
    app.signal("TERM");
    ws.assert_closed(1001, "going_away").await;
    drop(held);
    assert_eq!(app.wait().await.code(), Some(0));
}

async fn an_open_session_goes_on_while_its_extension_is_looked_up(database: Database) {
    let app = telegram(database, "linked")
        .set("limits.auth_timeout_ms", 1000)
        .start()
        .await;
    link(&app, 5, 777).await;
    let (mut ws, _) = app.session(5).await;
    let held = app.database.hold(LOCK);
    for _ in 0..3 {
        ws.send_json(json!({"type": "auth", "init_data": InitData::of(777).text()}))
            .await;
    }
    ws.assert_quiet().await;
    // The lookup has a time limit.
    ws.assert_closed(1013, "overloaded").await;
    drop(held);
    let (mut ws, _) = app.session(5).await;
    ws.send_json(json!({"type": "auth", "init_data": InitData::of(777).text()}))
        .await;
    ws.assert_quiet().await;
    assert_eq!(ws.refresh(json!(1)).await["user_id"], 5);
}
