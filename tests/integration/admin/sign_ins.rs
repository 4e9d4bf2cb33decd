//! An administrator's sign-in: wrong attempts are limited, right ones never.

use crate::support::{ADMIN_TOKEN, Answer, Database, TestApp, on_sqlite};

on_sqlite![failed_sign_ins_are_limited_and_a_right_token_is_always_let_in];

/// The answer to a sign-in with any value of `Authorization`.
async fn signed_in_with(app: &TestApp, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = app.http.get(format!("http://{}{path}", app.internal));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    Answer::read(request.send().await.expect("an answer"))
        .await
        .expect("whole")
}

async fn failed_sign_ins_are_limited_and_a_right_token_is_always_let_in(database: Database) {
    let app = TestApp::start(database).await;
    let paths = [
        "/admin/v1/registry",
        "/admin/v1/actors",
        "/admin/v1/live?snapshots=1",
        "/admin/v1/events",
    ];
    let wrong = [Some("Bearer guess"), None, Some("Basic eDp5")];
    let mut failures = 0;
    while signed_in_with(&app, paths[failures % 4], wrong[failures % 3])
        .await
        .status
        == 401
    {
        failures += 1;
        assert!(failures < 1000, "never limited");
    }
    assert!(failures >= 20, "{failures} failures are told as such");
    // Wrong ones go on, from the same address: they are limited on every path, right tokens on none.
    let mut limited = 0;
    for round in 0..40 {
        let path = paths[round % 4];
        let answer = signed_in_with(&app, path, wrong[round % 3]).await;
        if answer.status == 429 {
            answer.problem(429, "rate_limited");
            limited += 1;
        }
        assert_eq!(
            signed_in_with(&app, path, Some(&format!("Bearer {ADMIN_TOKEN}")))
                .await
                .status,
            200,
            "{path} after {failures} failures"
        );
    }
    assert!(limited > 0, "wrong ones are limited");
    let order = app.admin_post("/admin/v1/actors/1/disconnect").await;
    assert_eq!(order.status, 204, "{order:?}");
}
