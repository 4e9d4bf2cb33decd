//! SIGHUP: the watcher signs with another secret, without a restart.

use std::ffi::OsString;

use crate::support::chain::{Chain, address};
use crate::support::{Process, WEBHOOK_SECRET, eventually};
use crate::{PATIENCE, Watching, service, until_balance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_wrong_is_set_right_without_a_restart() {
    let (chain, app) = (Chain::start().await, service().await);
    chain.deposit(&address(1), "1000000000", "184");
    let file = app.directory().join("watcher.toml");
    let write = |secrets: &str| {
        let text =
            format!("[auth]\nwebhook_secrets = [{secrets}]\n[watcher]\nmin_amount = \"0.2\"");
        std::fs::write(&file, text).expect("written");
    };
    write("\"whsec_YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMuLi4h\"");
    let mut variables = Watching::of(&chain, &app, &address(1)).variables();
    variables.retain(|(name, _)| name != "BALANCE_AUTH__WEBHOOK_SECRETS");
    let arguments = ["watch", "--config", "watcher.toml"].map(OsString::from);
    let log = app.directory().join("watcher.log");
    let mut watcher = Process::start(app.directory(), &arguments, &variables, &log);
    until_line(
        &watcher,
        " ERROR ",
        "check watcher.internal_url and auth.webhook_secrets",
    )
    .await;

    write("");
    watcher.signal("HUP");
    until_line(
        &watcher,
        " ERROR ",
        "SIGHUP: this configuration can't be used",
    )
    .await;
    until_line(&watcher, " ERROR ", "missing: auth.webhook_secrets").await;

    write(&format!("\"{WEBHOOK_SECRET}\""));
    let text = std::fs::read_to_string(&file)
        .expect("read")
        .replace("0.2", "0.3");
    std::fs::write(&file, text).expect("written");
    watcher.signal("HUP");
    until_line(
        &watcher,
        " WARN ",
        "only at the next start: watcher.min_amount",
    )
    .await;
    until_line(
        &watcher,
        " INFO ",
        "read again; changed: auth.webhook_secrets",
    )
    .await;
    until_balance(&app, 184, "1.000000000").await;
    assert!(!watcher.log().contains(&WEBHOOK_SECRET[6..]));
    watcher.signal("TERM");
    assert!(watcher.wait(PATIENCE).await.success());
}

async fn until_line(watcher: &Process, level: &str, text: &str) {
    let is_it = |line: &str| line.contains(level) && line.contains(text);
    let has_it = async || watcher.log().lines().any(is_it).then_some(());
    eventually(text, has_it).await;
}
