//! An unread standard error must not block the service.

use crate::support::{Database, TestApp, Ws, on_sqlite};

on_sqlite![
    an_unread_log_delays_neither_webhooks_nor_pushes,
    the_service_stops_in_time_with_an_unread_log,
];

/// Default capacity of a pipe, in bytes.
const PIPE_BYTES: usize = 65_536;

const DEPOSITS: i64 = 900;

async fn start() -> (TestApp, Ws) {
    let app = TestApp::on(Database::Sqlite)
        .set("pacing.direct_interval_ms", 0)
        .log_through_a_pipe()
        .start()
        .await;
    let (ws, _) = app.session(1).await;
    (app, ws)
}

/// Logs more than the pipe holds; each deposit is answered and pushed meanwhile.
async fn deposit_while_the_log_is_unread(app: &mut TestApp, ws: &mut Ws) {
    app.log_reader().leave_off();
    for version in 1..=DEPOSITS {
        app.accepted("deposits", 1, &format!("d{version}"), "0.1")
            .await;
        assert_eq!(ws.next_frame("balance_update").await["version"], version);
    }
}

async fn an_unread_log_delays_neither_webhooks_nor_pushes(_: Database) {
    let (mut app, mut ws) = start().await;
    let before = app.log().len();
    deposit_while_the_log_is_unread(&mut app, &mut ws).await;
    app.log_reader().go_on();
    assert_eq!(app.stop().await.code(), Some(0));
    app.log_reader().finish();
    let log = app.log();
    assert!(
        log.len() - before > 2 * PIPE_BYTES,
        "the pipe was full: {} bytes",
        log.len() - before
    );
    let pushes = log
        .lines()
        .filter(|line| line.contains("DIRECT_BALANCE_UPDATE"));
    let expected: Vec<String> = (1..=DEPOSITS)
        .map(|version| format!(" version={version} "))
        .collect();
    assert_eq!(pushes.clone().count(), expected.len());
    for (push, version) in pushes.zip(&expected) {
        assert!(push.contains(version), "{version} in {push}");
    }
    assert!(
        log.ends_with("] stopped\n"),
        "{}",
        log.lines().last().expect("a line")
    );
}

async fn the_service_stops_in_time_with_an_unread_log(_: Database) {
    let (mut app, mut ws) = start().await;
    deposit_while_the_log_is_unread(&mut app, &mut ws).await;
    assert_eq!(app.stop().await.code(), Some(0));
    app.log_reader().finish();
    assert!(!app.log().contains("] stopped"), "it was given up");
}
