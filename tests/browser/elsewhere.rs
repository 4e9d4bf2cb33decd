//! The library in pages of another origin than the service's: allowed ones, and others.

use serde_json::json;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::site::Site;
use crate::support::{Database, TestApp, token};

in_a_browser![
    an_element_in_a_page_of_an_allowed_origin_shows_the_balance,
    a_page_of_another_origin_gets_nothing,
];

fn page(app: &TestApp) -> String {
    let (service, token) = (app.public, token(7));
    format!(
        "<!doctype html><html lang=en><title>A shop</title><link rel=icon href='data:,'>
        <ton-balance currency=TON min-decimals=2>wait</ton-balance>
        <script type=module>
          import {{ BalanceClient }} from 'http://{service}/client/balance-client.js';
          import {{ define, TonBalance }} from 'http://{service}/client/element.js';
          TonBalance.client = new BalanceClient({{ url: 'http://{service}', getToken: () => '{token}' }});
          TonBalance.client.start();
          define();
          window.client = TonBalance.client;
        </script></html>"
    )
}

async fn an_element_in_a_page_of_an_allowed_origin_shows_the_balance() {
    let mut site = Site::new().await;
    let app = TestApp::on(Database::Sqlite)
        .set("server.allowed_origins", vec![site.origin.clone()])
        .start()
        .await;
    app.accepted("deposits", 7, "d1", "1234.5").await;
    let page = page(&app);
    site.serve(move |_| Some(page.clone().into_bytes()));
    let browser = Browser::start().await;
    browser.goto(&site.origin).await;
    let amount = "document.querySelector('ton-balance').shadowRoot?.textContent";
    browser.until(&format!("{amount} === '1,234.50'")).await;
    let answer = app.accepted("deposits", 7, "d2", "0.125").await;
    browser.until(&format!("{amount} === '1,234.625'")).await;
    assert_eq!(
        browser.value("client.current.version").await,
        answer["version"]
    );
    // A read over HTTP, with its preflight.
    assert_eq!(
        browser
            .value("client.refresh().then(({ status }) => status)")
            .await,
        json!("live")
    );
    assert_eq!(
        browser
            .value("document.querySelector('ton-balance').hasAttribute('stale')")
            .await,
        false
    );
    browser.close(false).await;
}

async fn a_page_of_another_origin_gets_nothing() {
    let mut site = Site::new().await;
    let app = TestApp::on(Database::Sqlite)
        .set("server.allowed_origins", vec!["http://127.0.0.1:1"])
        .start()
        .await;
    app.accepted("deposits", 7, "d1", "1234.5").await;
    let page = page(&app);
    site.serve(move |_| Some(page.clone().into_bytes()));
    let browser = Browser::start().await;
    browser.goto(&site.origin).await;
    assert_eq!(browser.text("ton-balance").await, "wait");
    assert_eq!(browser.value("window.client === undefined").await, true);
    // Nor without the library.
    let bearer = format!("{{ headers: {{ authorization: 'Bearer {}' }} }}", token(7));
    let read = format!(
        "fetch('http://{}/api/v1/balance', {bearer}).then(() => 'read', () => 'refused')",
        app.public
    );
    assert_eq!(browser.value(&read).await, "refused");
    let socket = format!(
        "new Promise((done) => {{ const socket = new WebSocket('ws://{}/ws', ['balance.v1', 'bearer.{}']);
         socket.onopen = () => done('open'); socket.onerror = () => done('refused'); }})",
        app.public,
        token(7)
    );
    assert_eq!(browser.value(&socket).await, "refused");
    assert_eq!(
        app.metrics().await.value("balance_sessions_opened_total"),
        0.0
    );
    browser
        .client()
        .clone()
        .close()
        .await
        .expect("the session ends");
}
