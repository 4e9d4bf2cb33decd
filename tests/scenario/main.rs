//! A whole scenario against the real program: a tick of rewards twice, many deposits in every
//! spelling of their hashes, two hundred open pages, and a SIGKILL during the run.
//!
//! `BALANCE_COORDINATOR_BIN=target/release/balance-coordinator cargo test --test scenario -- --nocapture` runs it
//! against the released program and shows the report.

#[path = "../support/mod.rs"]
mod support;

mod deposits;
mod kill;
mod pages;
mod rewards;

use std::time::Instant;

use support::{Database, TestApp, on_both_databases};

on_both_databases![a_day_of_the_service];

async fn a_day_of_the_service(database: Database) {
    let start = Instant::now();
    let mut report = Report::new(database);
    let mut app = TestApp::on(database)
        .log("info")
        .set("pacing.debounce_ms", 300)
        .set("pacing.min_interval_ms", 1000)
        .start()
        .await;
    let pages = pages::open(&app, &mut report).await;
    rewards::two_ticks(&app, &mut report).await;
    deposits::rush(&app, &mut report).await;
    pages::settle(pages, &app, &mut report).await;
    kill::in_the_middle(&mut app, &mut report).await;
    app.assert_ledger_holds();
    report.line("verify", "exit 0, nothing found");
    report.line(
        "all of it took",
        format!("{:.1} s", start.elapsed().as_secs_f64()),
    );
    report.print();
}

/// The report, printed even when the test runner shows only the output of failures.
struct Report(String);

impl Report {
    fn new(database: Database) -> Self {
        let program =
            std::env::var("BALANCE_COORDINATOR_BIN").unwrap_or_else(|_| "debug build".to_owned());
        Self(format!("\n=== scenario on {database:?} ({program})\n"))
    }

    fn line(&mut self, what: &str, figures: impl std::fmt::Display) {
        self.0.push_str(&format!("  {what:<34} {figures}\n"));
    }

    fn print(&self) {
        use std::io::Write as _;
        // Past the test runner's capture; ignore write errors.
        let _ = write!(std::io::stdout(), "{}", self.0);
    }
}
