//! Each example of one service, in front of the real program.

use reqwest::Method;
use serde_json::json;

use super::{Client, Front, HOST, SPOOFS, TRUSTED, client_address, listed_address};
use crate::doors::listeners::spellings;
use crate::support::{
    ADMIN_TOKEN, Answer, BOT_TOKEN, Builder, Database, InitData, Raw, Signed, TestApp, eventually,
    on_sqlite, token,
};

on_sqlite![
    a_session_has_its_client_s_address_whatever_the_client_claims,
    a_page_of_another_origin_is_refused,
    limits_are_each_client_s_own_whatever_it_claims,
    an_administrator_is_named_by_the_own_address,
    nothing_internal_is_behind_an_example,
    sessions_are_told_of_a_restart_and_come_back,
];

fn behind_an_example(database: Database) -> Builder {
    TestApp::on(database).set("server.trusted_proxies", vec![TRUSTED])
}

async fn a_session_has_its_client_s_address_whatever_the_client_claims(database: Database) {
    let app = behind_an_example(database).start().await;
    let mut user_id = 0;
    for front in Front::all(&app).await {
        for address in front.families() {
            let client = front.client(address).await;
            for headers in SPOOFS {
                user_id += 1;
                let mut ws = client.session(user_id, headers).await;
                let listed = listed_address(&app, user_id).await;
                assert_eq!(listed, address.to_string(), "{:?} {headers:?}", front.kind);
                let event_id = format!("d{user_id}");
                app.accepted("deposits", user_id, &event_id, "1").await;
                let update = ws.next_frame("balance_update").await;
                assert_eq!(update["version"], 1, "{update}");
                let balance = client.balance(&token(user_id), headers).await.ok();
                assert_eq!(balance["version"], 1, "{balance}");
            }
        }
    }
}

async fn a_page_of_another_origin_is_refused(database: Database) {
    let app = behind_an_example(database).start().await;
    for front in Front::all(&app).await {
        let client = front.client(client_address(1)).await;
        let own = format!("https://{HOST}");
        client.session(1, &[("origin", &own)]).await;
        for foreign in ["https://example.com", "http://localhost:8080"] {
            let Err(answer) = client.try_session(1, &[("origin", foreign)]).await else {
                panic!("{:?}: {foreign} was let in", front.kind);
            };
            assert_eq!(answer.status, 403, "{:?}: {answer:?}", front.kind);
        }
    }
}

/// Asks until it is limited; answers that.
async fn limited(mut ask: impl AsyncFnMut(usize) -> Answer) -> Answer {
    for number in 0..2_000 {
        let answer = ask(number).await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("never limited");
}

async fn limits_are_each_client_s_own_whatever_it_claims(database: Database) {
    let app = behind_an_example(database)
        .set("auth.telegram_bot_token", BOT_TOKEN)
        .set("auth.telegram_identity", "user_id")
        .start()
        .await;
    let sign_in = async |client: &Client, init_data: &str, claimed: &str| {
        let request = client
            .request(Method::POST, "/api/v1/sessions")
            .header("x-forwarded-for", claimed)
            .header("forwarded", format!("for={claimed}"))
            .json(&json!({ "init_data": init_data }));
        client.ask(request).await
    };
    // The service keeps its limits, so each client of the test has an address of its own.
    let mut octet = 0;
    for front in Front::all(&app).await {
        octet += 2;
        let (guessing, other) = (client_address(octet), client_address(octet + 1));
        let (guesser, neighbour) = (front.client(guessing).await, front.client(other).await);
        let limited = limited(async |number| {
            let claimed = format!("198.51.{}.{}", number / 250, number % 250);
            sign_in(&guesser, "hash=guess", &claimed).await
        });
        limited.await.problem(429, "rate_limited");
        // Also with the claim to be the one that is limited.
        let answer = sign_in(&neighbour, "hash=guess", &guessing.to_string()).await;
        assert_eq!(answer.status, 401, "{:?}: {answer:?}", front.kind);
        let right = InitData::of(7).text();
        let answer = sign_in(&neighbour, &right, &guessing.to_string()).await;
        assert_eq!(answer.status, 200, "{:?}: {answer:?}", front.kind);
    }
}

/// Administrators may have a proxy of their own, in front of the internal listener.
async fn an_administrator_is_named_by_the_own_address(database: Database) {
    let app = behind_an_example(database).start().await;
    for front in Front::all(&app).await {
        let internal = Front::start(front.kind, app.internal).await;
        for address in internal.families() {
            let client = internal.client(address).await;
            let order = client
                .request(Method::POST, "/admin/v1/actors/1/disconnect")
                .header("x-forwarded-for", "198.51.100.1")
                .header("forwarded", "for=198.51.100.1")
                .bearer_auth(ADMIN_TOKEN);
            let answer = client.ask(order).await;
            assert_eq!(answer.status, 204, "{:?}: {answer:?}", front.kind);
            let line = format!("disconnect of user 1, from {address}");
            eventually("the log has the order with its address", async || {
                app.log()
                    .lines()
                    .any(|at| at.ends_with(&line))
                    .then_some(())
            })
            .await;
        }
    }
    assert!(!app.log().contains("198.51.100.1"));
}

/// Requests that the internal listener has answered, besides those of `/metrics`.
async fn internal_requests(app: &TestApp) -> f64 {
    let samples = app.metrics().await.samples;
    let counted = samples.iter().filter(|(name, _)| {
        name.starts_with("http_requests_total{")
            && name.contains("listener=\"internal\"")
            && !name.contains("route=\"/metrics\"")
    });
    counted.map(|(_, count)| count).sum()
}

async fn nothing_internal_is_behind_an_example(database: Database) {
    let app = behind_an_example(database).start().await;
    // What would have an effect, and what would tell something.
    app.accepted("deposits", 1, "first", "1").await;
    let before = internal_requests(&app).await;
    assert!(before >= 1.0);
    for front in Front::all(&app).await {
        let client = front.client(client_address(1)).await;
        let to = client.tunnel.addr;
        let hosts = [HOST.to_owned(), app.internal.to_string()];
        for (method, path) in [
            ("POST", "/internal/v1/deposits"),
            ("GET", "/admin/v1/registry"),
            ("GET", "/admin/"),
            ("GET", "/metrics"),
        ] {
            let mut targets = vec![path.to_owned()];
            if path != "/metrics" {
                targets.extend(spellings(path, app.internal));
            }
            for (target, host) in targets
                .iter()
                .flat_map(|at| hosts.iter().map(move |to| (at, to)))
            {
                let internal = app.internal;
                let mut raw = Raw::connect(to, None, None).await.expect("connected");
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
                     X-Forwarded-Host: {internal}\r\nX-Forwarded-Port: {}\r\nX-Original-URL: {path}\r\n\
                     X-Rewrite-URL: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    internal.port()
                );
                assert!(raw.send(request.as_bytes()).await);
                let answer = raw.until_end().await;
                let answer = String::from_utf8_lossy(&answer).into_owned();
                let status = answer.get(9..12).unwrap_or_default().to_owned();
                // Caddy's own answer to another host's name is an empty one.
                let is_empty = status == "200" && answer.contains("\r\nContent-Length: 0\r\n");
                assert!(
                    ["400", "404", "403", "421"].contains(&status.as_str()) || is_empty,
                    "{:?} {method} {target} {host}: {answer}",
                    front.kind
                );
            }
        }
    }
    assert_eq!(internal_requests(&app).await, before);
}

async fn sessions_are_told_of_a_restart_and_come_back(database: Database) {
    let mut app = behind_an_example(database).start().await;
    let fronts = Front::all(&app).await;
    let mut sessions = Vec::new();
    for (user_id, front) in (1..).zip(&fronts) {
        let client = front.client(client_address(1)).await;
        sessions.push((client.session(user_id, &[]).await, client, user_id));
    }
    app.signal("TERM");
    for (ws, ..) in &mut sessions {
        let (code, reason) = ws.closed().await;
        assert_eq!((code, reason.as_str()), (1001, "going_away"));
    }
    assert!(app.wait().await.success());
    for (_, client, user_id) in &sessions {
        let answer = client.balance(&token(*user_id), &[]).await;
        assert!(matches!(answer.status, 502..=504), "{answer:?}");
    }
    app.start_again().await;
    for (_, client, user_id) in &sessions {
        let mut ws = client.session(*user_id, &[]).await;
        assert_eq!(listed_address(&app, *user_id).await, "127.0.1.1");
        let body = json!({"event_id": format!("d{user_id}"), "user_id": user_id, "currency": "TON", "amount": "1"});
        app.sender()
            .insist(Signed::post("/internal/v1/deposits", &body))
            .await;
        ws.next_frame("balance_update").await;
    }
}
