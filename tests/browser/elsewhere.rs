//! The library in pages of another origin than the service's: allowed ones, and others.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::{Database, TestApp, token};

in_a_browser![
    an_element_in_a_page_of_an_allowed_origin_shows_the_balance,
    a_page_of_another_origin_gets_nothing,
];

/// A website of one page; gone when this is dropped.
struct Site {
    listener: Option<TcpListener>,
    addr: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Site {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        Self {
            listener: Some(listener),
            addr,
            serving: None,
        }
    }

    /// Begins to answer everything with this page.
    fn serve(&mut self, page: String) {
        let listener = self.listener.take().expect("once");
        self.serving = Some(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                // A browser also opens connections that it does not use.
                if stream.read(&mut request).await.unwrap_or(0) == 0 {
                    continue;
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {}\r\n\r\n{page}", page.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

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
    let origin = format!("http://{}", site.addr);
    let app = TestApp::on(Database::Sqlite)
        .set("server.allowed_origins", vec![origin.clone()])
        .start()
        .await;
    app.accepted("deposits", 7, "d1", "1234.5").await;
    site.serve(page(&app));
    let browser = Browser::start().await;
    browser.goto(&origin).await;
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
    site.serve(page(&app));
    let browser = Browser::start().await;
    browser.goto(&format!("http://{}", site.addr)).await;
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
