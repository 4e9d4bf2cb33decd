//! The library in pages of another origin than the service's: allowed ones, and others.

use serde_json::json;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::dev;
use crate::site::Site;
use crate::support::{Database, TestApp, token};

in_a_browser![
    an_element_in_a_page_of_an_allowed_origin_shows_the_balance,
    an_element_shows_the_client_that_it_was_given_last_in_whatever_order,
    tabs_that_refresh_in_loops_are_answered_and_keep_their_connection,
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

/// Elements before `define()`, and clients of two users.
fn elements(app: &TestApp) -> String {
    let (service, first, second) = (app.public, token(7), token(8));
    format!(
        "<!doctype html><html lang=en><title>Elements</title><link rel=icon href='data:,'>
        <ton-balance id=own>wait</ton-balance> <ton-balance id=late>wait</ton-balance>
        <script type=module>
          import {{ BalanceClient }} from 'http://{service}/client/balance-client.js';
          const started = (token) => {{
            const client = new BalanceClient({{ url: 'http://{service}', getToken: () => token, share: false }});
            client.start();
            return client;
          }};
          window.first = started('{first}');
          window.second = started('{second}');
          own.client = first;
          const {{ define, TonBalance }} = await import('http://{service}/client/element.js');
          const copy = await import('http://{service}/client/element.js?copy');
          define();
          copy.define();
          copy.define('other-balance');
          Object.assign(window, {{ TonBalance, copy, isCopy: copy.TonBalance !== TonBalance }});
          window.shown = (element) => element.shadowRoot.querySelector('slot') ? element.textContent : element.shadowRoot.textContent;
        </script></html>"
    )
}

async fn an_element_shows_the_client_that_it_was_given_last_in_whatever_order() {
    let mut site = Site::new().await;
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", 7, "d1", "7.5").await;
    app.accepted("deposits", 8, "d2", "8.5").await;
    let page = elements(&app);
    site.serve(move |_| Some(page.clone().into_bytes()));
    let browser = Browser::start().await;
    browser.goto(&site.origin).await;
    browser
        .until("window.shown && isCopy && shown(own) === '7.5' && shown(late) === 'wait'")
        .await;
    browser.value("void (own.client = second)").await;
    browser.until("shown(own) === '8.5'").await;
    // On the class, late, and by the other copy of the module.
    browser.value("void (TonBalance.client = first)").await;
    browser.until("shown(late) === '7.5'").await;
    browser
        .value("void (copy.TonBalance.client = second)")
        .await;
    browser.until("shown(late) === '8.5'").await;
    // Under another name, and given a client before it is in the page.
    let made = "document.body.append(window.made = Object.assign(document.createElement('other-balance'), \
                { client: first, textContent: 'wait' }))";
    browser.value(&format!("void {made}")).await;
    browser.until("shown(made) === '7.5'").await;
    browser.value("void second.stop()").await;
    assert_eq!(
        browser
            .value("[own, late, made].map((one) => shown(one))")
            .await,
        json!(["wait", "wait", "7.5"])
    );
    let deposit = app.accepted("deposits", 7, "d3", "1").await;
    browser.until("shown(made) === '8.5'").await;
    assert_eq!(
        browser.value("first.current.version").await,
        deposit["version"]
    );
    browser.close(false).await;
}

async fn tabs_that_refresh_in_loops_are_answered_and_keep_their_connection() {
    let mut site = Site::new().await;
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", 7, "d1", "1").await;
    let page = page(&app);
    site.serve(move |_| Some(page.clone().into_bytes()));
    let browser = Browser::start().await;
    let mut tabs = vec![browser.client().window().await.expect("a tab")];
    for _ in 0..2 {
        let tab = browser.client().new_window(true).await.expect("another");
        tabs.push(tab.handle);
    }
    for tab in &tabs {
        let to = browser.client().switch_to_window(tab.clone());
        to.await.expect("there");
        browser.prepare_tab().await;
        browser.goto(&site.origin).await;
        browser
            .until("window.client?.current.status === 'live'")
            .await;
        let endless = "void (async () => { window.answers = []; \
                       for (;;) answers.push((await client.refresh()).error?.code ?? null); })()";
        browser.value(endless).await;
    }
    let mut sockets = 0;
    for tab in &tabs {
        let to = browser.client().switch_to_window(tab.clone());
        to.await.expect("there");
        browser.until("answers.length >= 60").await;
        assert_eq!(
            browser.value("answers.filter((code) => code)").await,
            json!([])
        );
        assert_eq!(browser.value("client.current.status").await, "live");
        sockets += browser
            .value("record.sockets")
            .await
            .as_i64()
            .expect("so many");
    }
    assert_eq!(sockets, 1);
    assert_eq!(app.metrics().await.value("balance_sessions"), 1.0);
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
