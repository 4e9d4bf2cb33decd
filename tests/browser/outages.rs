//! The database goes away and comes back while the page is open.

use crate::driver::Browser;
use crate::page::{USER, dev};
use crate::support::{Cluster, Database, TestApp, on_postgres};

on_postgres![a_database_that_is_away_marks_the_number_and_never_makes_it_zero];

/// The service on a server of the test's own, which it may stop.
async fn app_on(cluster: &Cluster) -> TestApp {
    let database = cluster.create_database();
    let url = database.url();
    let dir = tempfile::tempdir().expect("a directory");
    dev(Database::Postgres)
        .set("database.timeout_ms", 1500)
        .start_with(dir, database, &url)
        .await
}

async fn a_database_that_is_away_marks_the_number_and_never_makes_it_zero(_: Database) {
    if !Browser::is_there() {
        return;
    }
    let cluster = Cluster::start();
    let app = app_on(&cluster).await;
    app.accepted("deposits", USER, "d1", "3.5").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "3.500000000").await;

    cluster.stop("fast");
    browser.click("#refresh").await;
    browser.until_state("checked stale").await;
    assert!(browser.text("#as-of").await.starts_with("as of "));
    assert_eq!(
        browser.text("#announcement").await,
        "3.5 TON, 0 UNI. Not up to date."
    );
    browser.picture("database-away").await;
    cluster.start_again();
    browser.until_state("live").await;
    assert_eq!(browser.text("#as-of").await, "");
    assert_eq!(browser.shown("TON").await, [35_000]);
    app.accepted("deposits", USER, "d2", "0.5").await;
    browser.until_balance("TON", "4.000000000").await;

    // Somebody of whom nothing is known meanwhile sees no number at all.
    cluster.stop("immediate");
    browser
        .goto(&format!("http://{}/?user=8", app.public))
        .await;
    browser.until_state("checked").await;
    assert_eq!(browser.text("#balances").await, "—");
    cluster.start_again();
    browser.until_state("live").await;
    assert_eq!(browser.shown("TON").await, [0]);
    browser.close(true).await;
}
