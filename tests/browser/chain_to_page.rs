//! The whole way of a deposit: chain, watcher, webhook, ledger, page.

use std::ffi::OsString;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::chain::{Chain, address};
use crate::support::{Database, Process, WEBHOOK_SECRET};

in_a_browser![a_deposit_on_chain_is_painted];

async fn a_deposit_on_chain_is_painted() {
    let (chain, app) = (Chain::start().await, dev(Database::Sqlite).start().await);
    let variables = [
        ("BALANCE_AUTH__WEBHOOK_SECRETS", WEBHOOK_SECRET.to_owned()),
        ("BALANCE_WATCHER__API_URL", chain.url.clone()),
        (
            "BALANCE_WATCHER__INTERNAL_URL",
            format!("http://{}", app.internal),
        ),
        ("BALANCE_WATCHER__ACCOUNTS", address(1)),
        ("BALANCE_WATCHER__START", "0".to_owned()),
        ("BALANCE_WATCHER__REQUESTS_PER_S", "100".to_owned()),
        ("BALANCE_WATCHER__POLL_MS", "50".to_owned()),
        ("RUST_LOG", "info".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let log = app.dir.path().join("watcher.log");
    let arguments = [OsString::from("watch")];
    let watcher = Process::start(app.dir.path(), &arguments, &variables, &log);
    let browser = Browser::start().await;
    browser.open(&app).await;
    chain.deposit(&address(1), "2500000000", &USER.to_string());
    browser.until_balance("TON", "2.500000000").await;
    browser.until_state("live").await;
    browser.picture("chain").await;
    browser.close(true).await;
    drop(watcher);
}
