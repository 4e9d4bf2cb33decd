//! `/client`: the browser library's files, their caching, and which pages may load them.

use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Database, TestApp, on_sqlite, token};

on_sqlite![
    a_file_of_the_library_is_a_module_that_is_asked_for_each_time,
    a_file_is_sent_in_the_best_encoding_that_the_browser_takes,
    a_url_with_the_contents_hash_is_cached_for_ever,
    pages_of_allowed_origins_load_the_library_and_others_do_not,
    readable_answers_vary_by_origin,
];

const MODULE: &str = "/client/balance-client.js";

async fn ask(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = app.public_request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(request.send().await.expect("an answer"))
        .await
        .expect("a whole answer")
}

async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(app, Method::GET, path, headers).await
}

async fn a_file_of_the_library_is_a_module_that_is_asked_for_each_time(database: Database) {
    let app = TestApp::start(database).await;
    let file = get(&app, MODULE, &[]).await;
    assert_eq!(file.status, 200);
    assert!(
        file.text
            .starts_with("// Readable: source/balance-client.js\n"),
        "{}",
        file.text
    );
    let written =
        std::fs::read_to_string(format!("{}/src/web{MODULE}", env!("CARGO_MANIFEST_DIR")))
            .expect("there");
    assert!(
        file.text.len() * 3 < written.len() * 2,
        "{} of {} bytes",
        file.text.len(),
        written.len()
    );
    let source = get(&app, "/client/source/balance-client.js", &[]).await;
    assert_eq!(
        (source.status, source.text.as_str()),
        (200, written.as_str())
    );
    let etag = file.header("etag").to_owned();
    assert!(
        etag.len() > 10 && etag.starts_with('"') && etag.ends_with('"'),
        "{etag}"
    );
    for (name, value) in [
        ("content-type", "text/javascript; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "public, no-cache"),
    ] {
        assert_eq!(file.header(name), value, "{name}");
    }
    let types = get(&app, "/client/balance-client.d.ts", &[]).await;
    assert_eq!(
        (types.status, types.header("content-type")),
        (200, "application/typescript; charset=utf-8")
    );
    let head = ask(&app, Method::HEAD, MODULE, &[]).await;
    assert_eq!(
        (head.status, head.text.as_str(), head.header("etag")),
        (200, "", etag.as_str())
    );
    assert_eq!(head.header("content-length"), file.text.len().to_string());
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}")] {
        let same = get(&app, MODULE, &[("if-none-match", &known)]).await;
        assert_eq!(
            (same.status, same.text.as_str(), same.header("etag")),
            (304, "", etag.as_str()),
            "{known}"
        );
        assert_eq!(same.header("cache-control"), "public, no-cache");
    }
    assert_eq!(
        get(&app, MODULE, &[("if-none-match", "\"another\"")])
            .await
            .status,
        200
    );

    for missing in [
        "/client/",
        "/client",
        "/client/nothing.js",
        "/client/package.json",
        "/client/balance-client.js.br",
        "/client/balance-client.js.gz",
        "/client/source/",
        "/client/../demo/demo.js",
        "/client/%2e%2e/index.html",
    ] {
        get(&app, missing, &[]).await.problem(404, "not_found");
    }
    ask(&app, Method::POST, MODULE, &[])
        .await
        .problem(405, "method_not_allowed");
}

async fn a_file_is_sent_in_the_best_encoding_that_the_browser_takes(database: Database) {
    let app = TestApp::start(database).await;
    let plain = get(&app, MODULE, &[]).await;
    let hash = plain.header("etag").trim_matches('"').to_owned();
    for (accepted, encoding, bytes_max) in [
        ("gzip, deflate, br, zstd", "br", 7_424),
        ("gzip", "gzip", 8_192),
        ("br;q=0, gzip;q=0.1", "gzip", 8_192),
    ] {
        let headers = [("accept-encoding", accepted)];
        let answer = ask(&app, Method::HEAD, MODULE, &headers).await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (200, encoding),
            "{accepted}"
        );
        let bytes: u64 = answer.header("content-length").parse().expect("a length");
        println!("{MODULE} in {encoding}: {bytes} bytes");
        assert!(bytes <= bytes_max, "{accepted}: {bytes} bytes");
        assert!(
            answer.header("vary").contains("accept-encoding"),
            "{answer:?}"
        );
        // A cache that has one encoding does not take it for the other.
        let etag = answer.header("etag").to_owned();
        assert_eq!(etag, format!("\"{hash}-{encoding}\""));
        let same = ask(
            &app,
            Method::GET,
            MODULE,
            &[("accept-encoding", accepted), ("if-none-match", &etag)],
        )
        .await;
        assert_eq!(
            (same.status, same.header("content-encoding")),
            (304, ""),
            "{accepted}"
        );
        let other = ask(&app, Method::HEAD, MODULE, &[("if-none-match", &etag)]).await;
        assert_eq!(
            (other.status, other.header("content-encoding")),
            (200, ""),
            "{accepted}"
        );
        let named = ask(
            &app,
            Method::HEAD,
            &format!("{MODULE}?v={hash}-{encoding}"),
            &headers,
        )
        .await;
        assert!(
            named.header("cache-control").contains("immutable"),
            "{named:?}"
        );
    }
}

async fn a_url_with_the_contents_hash_is_cached_for_ever(database: Database) {
    let app = TestApp::start(database).await;
    let etag = get(&app, MODULE, &[]).await.header("etag").to_owned();
    let hash = etag.trim_matches('"');
    let named = get(&app, &format!("{MODULE}?v={hash}"), &[]).await;
    assert_eq!(
        (named.status, named.header("cache-control")),
        (200, "public, max-age=31536000, immutable")
    );
    // A hash of other content gets the current content, without long caching.
    let other = get(&app, &format!("{MODULE}?v=0{hash}"), &[]).await;
    assert_eq!(
        (other.status, other.header("cache-control")),
        (200, "public, no-cache")
    );
    assert_eq!(other.text, named.text);
}

async fn pages_of_allowed_origins_load_the_library_and_others_do_not(database: Database) {
    let friend = "https://app.example.org";
    let app = TestApp::on(database)
        .set("server.allowed_origins", vec![friend])
        .start()
        .await;
    let own = format!("http://{}", app.public);
    for origin in [friend, own.as_str()] {
        let file = get(&app, MODULE, &[("origin", origin)]).await;
        assert_eq!(
            (file.status, file.header("access-control-allow-origin")),
            (200, origin)
        );
        assert!(
            file.header("access-control-expose-headers")
                .contains("etag"),
            "{file:?}"
        );
        let etag = file.header("etag").to_owned();
        let same = get(
            &app,
            MODULE,
            &[("origin", origin), ("if-none-match", &etag)],
        )
        .await;
        assert_eq!(
            (same.status, same.header("access-control-allow-origin")),
            (304, origin)
        );
    }
    for foreign in ["https://evil.example", "null", "http://app.example.org"] {
        let refused = get(&app, MODULE, &[("origin", foreign)]).await;
        refused.problem(403, "origin_not_allowed");
        assert_eq!(refused.header("access-control-allow-origin"), "");
    }
}

/// Otherwise a cache could mix answers for different origins.
async fn readable_answers_vary_by_origin(database: Database) {
    let friend = "https://app.example.org";
    let app = TestApp::on(database)
        .set("server.allowed_origins", vec![friend])
        .start()
        .await;
    let bearer = format!("Bearer {}", token(1));
    for path in [
        MODULE,
        "/api/v1/balance",
        "/api/v1/entries",
        "/api/v1/nothing",
    ] {
        for origin in [None, Some(friend), Some("https://evil.example")] {
            let mut headers = vec![("authorization", bearer.as_str())];
            headers.extend(origin.map(|origin| ("origin", origin)));
            let answer = get(&app, path, &headers).await;
            assert!(
                answer.header("vary").to_lowercase().contains("origin"),
                "{path} {origin:?}: {answer:?}"
            );
        }
    }
    // A page may read `Retry-After` and `ETag`.
    let balance = get(
        &app,
        "/api/v1/balance",
        &[("authorization", &bearer), ("origin", friend)],
    )
    .await;
    assert_ne!(balance.ok()["version"], Value::Null);
    let exposed = balance
        .header("access-control-expose-headers")
        .to_lowercase();
    assert!(
        exposed.contains("etag") && exposed.contains("retry-after"),
        "{exposed}"
    );
}
