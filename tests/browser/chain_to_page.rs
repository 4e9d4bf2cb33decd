//! The whole way of a deposit: chain, watcher, webhook, ledger, page.

use std::ffi::OsString;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::chain::{Chain, address};
use crate::support::{Database, Process, WEBHOOK_SECRET};

in_a_browser![
    a_deposit_on_chain_is_painted,
    the_wallet_of_the_bench_shows_each_step_from_the_chain_to_the_screen,
];

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

async fn the_wallet_of_the_bench_shows_each_step_from_the_chain_to_the_screen() {
    let app = dev(Database::Sqlite).start().await;
    for (language, steps, source) in [
        (
            "en-US",
            [
                "final on chain ",
                "found by the watcher ",
                "committed ",
                "on screen ",
                "counted ",
            ],
            "TON chain",
        ),
        (
            "ru-RU",
            [
                "окончательно в сети ",
                "найдено наблюдателем ",
                "записано ",
                "на экране ",
                "досчитано ",
            ],
            "Сеть TON",
        ),
    ] {
        let before = app.entries(USER).await.len();
        let browser = Browser::start_in(language).await;
        browser.open(&app).await;
        browser.click("[data-send=chain]").await;
        browser
            .until("document.querySelectorAll('.sent li:first-child .step').length === 5")
            .await;
        let shown = browser
            .value("[...document.querySelectorAll('.sent .step')].map((step) => step.textContent)")
            .await;
        for (index, step) in steps.into_iter().enumerate() {
            let shown = shown[index].as_str().expect("a text");
            assert!(shown.starts_with(step), "{shown}");
        }
        let is_it = format!(
            "document.querySelectorAll('.entry').length === {}",
            before + 1
        );
        browser.until(&is_it).await;
        let what = "document.querySelector('.entry .what').textContent";
        let what = browser.value(what).await;
        assert!(
            what.as_str()
                .is_some_and(|what| what.eq_ignore_ascii_case(source)),
            "{what}"
        );
        browser.picture(&format!("wallet-{language}")).await;
        browser.close(false).await;
        let entries = app.entries(USER).await;
        assert_eq!(entries.len(), before + 1);
        assert_eq!(entries[0]["source"], "ton");
        assert_eq!(entries[0]["amount"], "0.500000000");
    }
}
