//! `import --balances` and `compare`.

use serde_json::json;

use super::{balance, run};
use crate::support::{Database, TestApp, TonHash, on_both_databases};

on_both_databases![
    the_ledger_is_aligned_with_a_file_and_compared,
    known_deposits_first_then_balances_makes_an_old_deposit_a_duplicate,
    a_large_file_is_imported_and_compared,
];

async fn the_ledger_is_aligned_with_a_file_and_compared(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d1", "5").await;
    app.accepted("deposits", 3, "d3", "7").await;
    let file = "user_id,currency,amount\n2,UNI,0.5\n1,TON,4\n3,TON,7\n2,TON,0.0000000001\n";
    let compare = ["compare", "--balances", "input"];
    let ran = run(&app, &compare, file);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    let totals = [
        "total TON 11.000000000 12.000000000 -1.000000000",
        "total UNI 0.500000000 0.000000000 0.500000000",
    ];
    let differing = [
        "1 TON 4.000000000 5.000000000 -1.000000000",
        "2 UNI 0.500000000 0.000000000 0.500000000",
    ];
    assert_eq!(lines, [&differing[..], &totals].concat());
    assert!(ran.error.contains("line 5: invalid_amount"), "{ran:?}");

    let import = ["import", "--balances", "input", "--label", "cut-over"];
    let dry = run(&app, &[&import[..], &["--dry-run"]].concat(), file);
    assert_eq!(dry.code, Some(1));
    assert!(dry.out.contains("would_adjust: 2"), "{dry:?}");
    assert_eq!(app.entries(1).await.len(), 1);
    run(&app, &import, file).assert(1, &[("accepted", 2), ("unchanged", 1), ("rejected", 1)]);
    let entry = &app.entries(1).await[0];
    for (field, expected) in [
        ("event_id", "import:cut-over:1:TON"),
        ("kind", "adjustment"),
        ("amount", "-1.000000000"),
        ("balance_after", "4.000000000"),
        ("reason", "import cut-over"),
    ] {
        assert_eq!(entry[field], expected, "{field}");
    }
    let good = "user_id,currency,amount\n2,UNI,0.5\n1,TON,4\n3,TON,7\n";
    run(&app, &import, good).assert(0, &[("accepted", 0), ("unchanged", 3), ("rejected", 0)]);
    assert_eq!(
        run(&app, &["compare", "--balances", "-"], good).code,
        Some(0)
    );

    // The label is used up for this balance.
    app.accepted("deposits", 1, "d4", "1").await;
    let ran = run(&app, &import, good);
    ran.assert(1, &[("accepted", 0), ("unchanged", 2), ("rejected", 1)]);
    assert!(ran.error.contains("line 3: label_used"), "{ran:?}");
    let next = ["import", "--balances", "input", "--label", "cut-over-2"];
    run(&app, &next, good).assert(0, &[("accepted", 1), ("unchanged", 2), ("rejected", 0)]);
    assert_eq!(balance(&app, 1, "TON").await, "4.000000000");
    app.assert_ledger_holds();
}

async fn known_deposits_first_then_balances_makes_an_old_deposit_a_duplicate(database: Database) {
    let app = TestApp::start(database).await;
    let hash = TonHash::of("known");
    let entries = format!(
        "kind,tx_hash,user_id,currency,amount\ndeposit,{},184,TON,10\n",
        hash.hex()
    );
    run(&app, &["import", "--entries", "input"], &entries)
        .assert(0, &[("accepted", 1), ("duplicates", 0), ("rejected", 0)]);
    // Of the ten he has spent nine before.
    let balances = "{\"user_id\":184,\"currency\":\"TON\",\"amount\":\"1\"}\n";
    run(
        &app,
        &["import", "--balances", "input", "--label", "old"],
        balances,
    )
    .assert(0, &[("accepted", 1), ("unchanged", 0), ("rejected", 0)]);
    let [_, base64url, ..] = hash.five_spellings();
    let again = json!({"tx_hash": base64url, "user_id": 184, "currency": "TON", "amount": "10"});
    assert_eq!(app.post("deposits", again).await.ok()["duplicate"], true);
    assert_eq!(balance(&app, 184, "TON").await, "1.000000000");
    assert_eq!(
        run(&app, &["compare", "--balances", "input"], balances).code,
        Some(0)
    );
    app.assert_ledger_holds();
}

async fn a_large_file_is_imported_and_compared(database: Database) {
    // By hand: MIGRATION_BALANCES=1000000, in a release build, with -- --nocapture.
    let count: u64 =
        std::env::var("MIGRATION_BALANCES").map_or(6_000, |text| text.parse().expect("a number"));
    let app = TestApp::start(database).await;
    let row = |user_id: u64| format!("{user_id},TON,{}.{:09}\n", user_id % 100, user_id);
    let rows: String = (1..=count).map(row).collect();
    let file = format!("user_id,currency,amount\n{rows}");
    let import = ["import", "--balances", "input", "--label", "all"];
    let began = std::time::Instant::now();
    run(&app, &import, &file).assert(0, &[("accepted", count), ("unchanged", 0), ("rejected", 0)]);
    let imported = began.elapsed();
    let compared = run(&app, &["compare", "--balances", "input"], &file);
    assert_eq!(compared.code, Some(0), "{compared:?}");
    let all = began.elapsed();
    println!(
        "{count} balances: imported in {imported:?}, and compared in {:?}",
        all - imported
    );
    // As many balances, of other users: each side lacks the other's.
    let others: String = (count + 1..=2 * count).map(row).collect();
    let others = format!("user_id,currency,amount\n{others}");
    let compared = run(&app, &["compare", "--balances", "input"], &others);
    assert_eq!(compared.code, Some(1));
    assert_eq!(compared.out.lines().count() as u64, 2 * count + 2);
    assert!(
        compared
            .error
            .contains(&format!("{} balances differ", 2 * count))
    );
}
