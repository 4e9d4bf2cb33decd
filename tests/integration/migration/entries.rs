//! `import --entries`.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::{balance, run, run_with};
use crate::support::{
    Database, PATIENCE, Process, TestApp, TonHash, eventually, on_both_databases, on_sqlite,
};

on_both_databases![
    old_deposits_come_in_as_what_they_are_and_are_duplicates_when_they_are_sent_again,
    interrupted_and_started_again_it_doubles_nothing,
];
on_sqlite![
    refused_lines_are_told_by_number_and_kept_in_a_file,
    a_dry_run_sends_nothing,
    a_service_that_is_away_or_refuses_ends_the_run,
    wrong_arguments_are_refused,
];

async fn old_deposits_come_in_as_what_they_are_and_are_duplicates_when_they_are_sent_again(
    database: Database,
) {
    let app = TestApp::start(database).await;
    let hash = TonHash::of("old");
    let [_, _, base64, ..] = hash.five_spellings();
    let file = format!(
        "kind,tx_hash,event_id,user_id,currency,amount,occurred_at,metadata,reason\n\
         deposit,{base64},,184,TON,1.5,2024-02-03T04:05:06Z,\"{{\"\"old_id\"\": 17}}\",\n\
         reward,,farm:184:1,184,UNI,2,,,\n\
         withdrawal,,withdrawal:9,184,TON,0.5,,,\n\
         adjustment,,a1,184,UNI,-1,,,typo\n"
    );
    let import = ["import", "--entries", "input"];
    run(&app, &import, &file).assert(0, &[("accepted", 4), ("duplicates", 0), ("rejected", 0)]);
    let entries = app.entries(184).await;
    let kinds: Vec<&str> = entries
        .iter()
        .filter_map(|one| one["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["adjustment", "withdrawal", "reward", "deposit"]);
    let deposit = &entries[3];
    assert_eq!(deposit["tx_hash"], hash.hex());
    assert_eq!(deposit["event_id"], format!("ton:{}", hash.hex()));
    assert_eq!(deposit["occurred_at"], "2024-02-03T04:05:06.000000Z");
    assert_eq!(deposit["metadata"], json!({"old_id": 17}));
    // The watcher, or the old system, sends it once more, in another spelling.
    for spelling in hash.five_spellings() {
        let again =
            json!({"tx_hash": spelling, "user_id": 184, "currency": "TON", "amount": "1.5"});
        assert_eq!(app.post("deposits", again).await.ok()["duplicate"], true);
    }
    run(&app, &["import", "--entries", "-"], &file)
        .assert(0, &[("accepted", 0), ("duplicates", 4), ("rejected", 0)]);
    app.assert_ledger_holds();
}

/// So many entries of one user and of many.
fn rewards(count: u32) -> String {
    let rows = (0..count).map(|n| {
        let user_id = if n % 2 == 0 { 7 } else { 100 + n };
        let entry = json!({"kind": "reward", "event_id": format!("r{n}"), "user_id": user_id, "currency": "UNI", "amount": "1"});
        format!("{entry}\n")
    });
    rows.collect()
}

async fn interrupted_and_started_again_it_doubles_nothing(database: Database) {
    let app = TestApp::start(database).await;
    let file = rewards(4_000);
    std::fs::write(app.dir.path().join("input"), &file).expect("written");
    let internal = format!("http://{}", app.internal);
    let arguments = [
        "import",
        "--entries",
        "input",
        "--config",
        "config.toml",
        "--internal-url",
        &internal,
    ];
    let arguments = arguments.map(OsString::from);
    let small = ("BALANCE_LIMITS__BATCH_ENTRIES", "20");
    let variables = [(small.0.to_owned(), small.1.to_owned())];
    let log = app.dir.path().join("import.log");
    let accepted = async || {
        let scrape = app.metrics().await;
        scrape.value(r#"balance_entries_total{kind="reward",outcome="accepted"}"#)
    };
    for (signal, least) in [("KILL", 100.0), ("TERM", 400.0)] {
        let mut import = Process::start(app.dir.path(), &arguments, &variables, &log);
        eventually("some entries", async || {
            (accepted().await >= least).then_some(())
        })
        .await;
        import.signal(signal);
        let status = import.wait(PATIENCE).await;
        assert!(!status.success(), "{status}: it had more to do");
    }
    let ran = run_with(&app, &["import", "--entries", "input"], &file, &[small]);
    let counts = ran.counts();
    assert_eq!(counts["accepted"] + counts["duplicates"], 4_000, "{ran:?}");
    assert!(counts["duplicates"] >= 400, "{ran:?}");
    assert_eq!(accepted().await, 4_000.0);
    assert_eq!(balance(&app, 7, "UNI").await, "2000.000000000");
    app.assert_ledger_holds();
}

async fn refused_lines_are_told_by_number_and_kept_in_a_file(database: Database) {
    let app = TestApp::start(database).await;
    let file = "kind,event_id,user_id,currency,amount\n\
                reward,r1,1,UNI,1\n\
                reward,r2,1,UNI,0.1234567890\n\
                withdrawal,w1,1,UNI,5\n\
                reward,r3,1,UNI\n\
                reward,r4,1,UNI,2\n";
    let import = ["import", "--entries", "input", "--rejects", "rejects"];
    let ran = run(&app, &import, file);
    ran.assert(1, &[("accepted", 2), ("duplicates", 0), ("rejected", 3)]);
    for part in [
        "line 3: invalid_amount",
        "line 4: insufficient_funds",
        "line 5: invalid_line",
    ] {
        assert!(ran.error.contains(part), "{part} in {ran:?}");
    }
    let rejects = std::fs::read_to_string(app.dir.path().join("rejects")).expect("written");
    let rejects: Vec<Value> = rejects
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON lines"))
        .collect();
    let of = |line: u64| {
        rejects
            .iter()
            .find(|one| one["line"] == line)
            .expect("it is there")
    };
    assert_eq!(rejects.len(), 3);
    assert_eq!(of(4)["code"], "insufficient_funds");
    assert_eq!(of(4)["content"]["event_id"], "w1");
    assert_eq!(of(5)["code"], "invalid_line");
    assert_eq!(balance(&app, 1, "UNI").await, "3.000000000");
}

async fn a_dry_run_sends_nothing(database: Database) {
    let mut app = TestApp::start(database).await;
    app.stop().await;
    let file = "kind,event_id,user_id,currency,amount\nreward,r1,1,UNI,1\nreward,r2,1,UNI,-1\n";
    let ran = run(&app, &["import", "--entries", "input", "--dry-run"], file);
    ran.assert(1, &[("valid", 1), ("duplicates", 0), ("rejected", 1)]);
    assert!(ran.error.contains("line 3: invalid_amount"), "{ran:?}");
}

async fn a_service_that_is_away_or_refuses_ends_the_run(database: Database) {
    let mut app = TestApp::start(database).await;
    let import = ["import", "--entries", "input"];
    let other = (
        "BALANCE_AUTH__WEBHOOK_SECRETS",
        "whsec_YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMuLi4h",
    );
    let ran = run_with(&app, &import, &rewards(1), &[other]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(
        ran.error
            .contains("check --internal-url and auth.webhook_secrets"),
        "{ran:?}"
    );
    app.stop().await;
    let ran = run(&app, &import, &rewards(1));
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.error.contains("the service does not answer"), "{ran:?}");
}

async fn wrong_arguments_are_refused(database: Database) {
    let app = TestApp::start(database).await;
    for (arguments, code) in [
        (&["import"][..], 2),
        (&["import", "--entries", "input", "--balances", "input"], 2),
        (&["import", "--balances", "input"], 2),
        (&["import", "--balances", "input", "--label", "a b"], 2),
        (&["import", "--entries", "input", "--label", "a"], 2),
        (&["compare"], 2),
        (&["import", "--entries", "nowhere"], 1),
    ] {
        let ran = run(&app, arguments, "");
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
    }
}
