//! No bus between the processes: what another one commits is found in the ledger.

use serde_json::{Value, json};

use crate::beside;
use crate::support::{Database, TestApp, eventually, on_postgres};

on_postgres![
    what_another_process_commits_reaches_the_sessions_as_its_kind_wants_it,
    no_process_answers_from_memory_while_there_are_others,
    a_process_that_was_killed_leaves_nothing_behind_unseen,
    each_process_tells_of_the_others_and_one_does_the_audit,
];

async fn two(database: Database) -> (TestApp, TestApp) {
    let first = TestApp::on(database).set("cluster.node", "a").start().await;
    let second = beside(&first, "b").await;
    // The first one learns of the second with its next look.
    eventually("the first process knows of the second", async || {
        first
            .log()
            .contains("other processes use this ledger (b)")
            .then_some(())
    })
    .await;
    (first, second)
}

fn balance(user_id: u64) -> String {
    format!("/internal/v1/users/{user_id}/balance")
}

async fn what_another_process_commits_reaches_the_sessions_as_its_kind_wants_it(
    database: Database,
) {
    let (first, second) = two(database).await;
    let (mut ws, _) = first.session(1).await;
    second.accepted("deposits", 1, "d1", "5").await;
    let update = ws.next_frame("balance_update").await;
    let fields = |update: &Value| {
        ["version", "entries", "mode", "sources", "changes"].map(|field| update[field].clone())
    };
    assert_eq!(
        fields(&update),
        [
            json!(1),
            json!(1),
            json!("direct"),
            json!(["deposit"]),
            json!({"TON": "5.000000000"})
        ]
    );
    second.accepted("rewards", 1, "r2", "1").await;
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        fields(&update),
        [
            json!(2),
            json!(1),
            json!("paced"),
            json!(["reward"]),
            json!({"TON": "1.000000000"})
        ]
    );
    // An own entry behind one that was not heard of: both are in one push, and it is direct.
    second.accepted("deposits", 1, "d3", "2").await;
    first.accepted("rewards", 1, "r4", "1").await;
    let mut seen = 2;
    while seen < 4 {
        let update = ws.next_frame("balance_update").await;
        let version = update["version"].as_i64().expect("a version");
        if (seen + 1..=version).contains(&3) {
            assert_eq!(update["mode"], "direct", "{update}");
        }
        seen = version;
    }
    first.assert_ledger_holds();
}

async fn no_process_answers_from_memory_while_there_are_others(database: Database) {
    let (first, second) = two(database).await;
    for n in 1..=20 {
        let (writer, reader) = if n % 2 == 0 {
            (&first, &second)
        } else {
            (&second, &first)
        };
        writer.accepted("deposits", 7, &format!("e{n}"), "1").await;
        for app in [reader, writer] {
            let read = app.backend(&balance(7)).await.ok();
            assert_eq!(
                (&read["version"], &read["stale"]),
                (&json!(n), &json!(false)),
                "{read}"
            );
        }
        let (ws, snapshot) = reader.session(7).await;
        assert_eq!(snapshot["version"], n, "{snapshot}");
        ws.close().await;
    }
}

async fn a_process_that_was_killed_leaves_nothing_behind_unseen(database: Database) {
    let (first, mut second) = two(database).await;
    first.backend(&balance(2)).await.ok();
    let (mut ws, _) = first.session(1).await;
    second.accepted("deposits", 1, "d1", "5").await;
    second.accepted("deposits", 2, "d2", "5").await;
    second.kill();
    assert_eq!(ws.next_frame("balance_update").await["version"], 1);
    eventually("the first process is alone", async || {
        first
            .log()
            .contains("alone on its ledger again")
            .then_some(())
    })
    .await;
    let read = first.backend(&balance(2)).await.ok();
    assert_eq!(
        read["version"], 1,
        "what it knew from before is not trusted: {read}"
    );
}

async fn each_process_tells_of_the_others_and_one_does_the_audit(database: Database) {
    let (first, second) = two(database).await;
    let of = async |app: &TestApp| app.admin("/admin/v1/cluster").await.ok();
    eventually("each knows the other", async || {
        let (one, other) = (of(&first).await, of(&second).await);
        (one["nodes"][0]["boot"] == other["boot"] && other["nodes"][0]["boot"] == one["boot"])
            .then_some(())
    })
    .await;
    let shown = of(&first).await;
    assert_eq!(
        ["node", "covered", "connected", "first"].map(|field| shown[field].clone()),
        [json!("a"), json!(false), json!(false), json!(true)],
        "{shown}"
    );
    let other = &shown["nodes"][0];
    assert_eq!(
        (&other["node"], &other["has_bus"]),
        (&json!("b"), &json!(false)),
        "{shown}"
    );
    assert!(
        other["seen_at"].is_string() && other["heard_at"].is_null(),
        "{shown}"
    );
    assert_eq!(
        of(&second).await["first"],
        false,
        "the audit and the canary run once"
    );
    let (_ws, _) = second.session(1).await;
    eventually("its sessions are told", async || {
        (of(&first).await["nodes"][0]["sessions"] == 1).then_some(())
    })
    .await;
    let mut first = first;
    assert!(first.stop().await.success());
    eventually("the other one takes over", async || {
        let shown = of(&second).await;
        (shown["first"] == true && shown["covered"] == true && shown["nodes"] == json!([]))
            .then_some(())
    })
    .await;
}
