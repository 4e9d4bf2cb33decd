//! Orders of administrators reach all processes, and a process that does not answer is named.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use balance_coordinator::cluster::orders::NodeName;
use balance_coordinator::cluster::wire::Action;
use serde_json::{Value, json};

use crate::nodes::{Node, Table, covered, heard_by_all, settings};
use crate::support::{Database, Nats, Passes, Relay, TestApp, eventually, on_postgres};
use crate::with_bus::{Cluster, are_covered, by_hand};

on_postgres![
    an_order_at_one_process_closes_the_sessions_at_all,
    push_refresh_and_retire_reach_all_processes_and_each_tells_what_it_has,
    a_process_that_is_stopped_is_named_and_the_others_answer,
    while_the_bus_is_away_the_own_process_carries_orders_out,
];

const ACTOR: &str = "/admin/v1/actors/1";

async fn order(app: &TestApp, action: &str) -> Value {
    app.admin_post(&format!("{ACTOR}/{action}")).await.ok()
}

/// The names in one of the two lists, sorted.
fn names<'a>(answer: &'a Value, list: &str) -> Vec<&'a str> {
    let nodes = answer[list].as_array().expect("a list");
    let mut names: Vec<_> = nodes
        .iter()
        .map(|node| node["node"].as_str().expect("a name"))
        .collect();
    names.sort_unstable();
    names
}

/// What one node said.
fn of<'a>(answer: &'a Value, node: &str) -> &'a Value {
    let mut nodes = answer["nodes"].as_array().expect("a list").iter();
    nodes
        .find(|said| said["node"] == node)
        .unwrap_or_else(|| panic!("{node} in {answer}"))
}

async fn an_order_at_one_process_closes_the_sessions_at_all(database: Database) {
    let Cluster { apps, nats: _nats } = Cluster::start(database).await;
    let (mut at_b, _) = apps[1].session(1).await;
    let (mut at_c, _) = apps[2].session(1).await;
    let (mut of_other, _) = apps[1].session(2).await;
    let answer = order(&apps[0], "disconnect").await;
    assert_eq!(at_b.closed().await.0, 4510);
    assert_eq!(at_c.closed().await.0, 4510);
    assert_eq!(names(&answer, "nodes"), ["a", "b", "c"], "{answer}");
    assert_eq!(names(&answer, "not_heard_of"), [""; 0], "{answer}");
    assert_eq!(answer["nodes"][0]["node"], "a", "the asked one is first");
    let closed = ["a", "b", "c"].map(|node| of(&answer, node)["sessions_closed"].clone());
    assert_eq!(closed, [json!(0), json!(1), json!(1)], "{answer}");
    apps[0].accepted("deposits", 2, "d", "1").await;
    of_other.next_frame("balance_update").await;
    let log = apps[2].admin("/admin/v1/log").await.ok();
    assert_eq!(log["log"].as_array().map(Vec::len), Some(1), "{log}");
}

async fn push_refresh_and_retire_reach_all_processes_and_each_tells_what_it_has(
    database: Database,
) {
    let Cluster { apps, nats: _nats } = Cluster::start_with(database, |app| {
        app.set("pacing.debounce_ms", 60_000)
            .set("pacing.min_interval_ms", 60_000)
    })
    .await;
    let absent = apps[2].admin(ACTOR).await;
    assert_eq!(absent.status, 404);
    let (mut ws, _) = apps[1].session(1).await;
    apps[0].accepted("rewards", 1, "r1", "1").await;
    eventually("the reward waits at b", async || {
        let shown = apps[2].admin(ACTOR).await.ok();
        (of(&shown, "b")["pending"]["entries"] == 1).then_some(())
    })
    .await;
    // The asked node has nothing of the user; the others tell.
    let shown = apps[2].admin(ACTOR).await.ok();
    assert_eq!(names(&shown, "nodes"), ["a", "b", "c"], "{shown}");
    assert_eq!(
        (&shown["version"], &shown["sessions"]),
        (&Value::Null, &json!([]))
    );
    let resident = ["a", "b", "c"].map(|node| of(&shown, node)["resident"] == true);
    assert_eq!(resident, [true, true, false], "{shown}");
    let at_b = of(&shown, "b");
    assert_eq!(
        (
            &at_b["version"],
            &at_b["sessions_attached"],
            &at_b["covered"]
        ),
        (&json!(1), &json!(1), &json!(true)),
        "{shown}"
    );
    assert_eq!(
        at_b["sessions"].as_array().map(Vec::len),
        Some(1),
        "{shown}"
    );

    // At once after a commit that b has to be told of.
    apps[0].accepted("rewards", 1, "r2", "1").await;
    let pushed = order(&apps[0], "push").await;
    assert_eq!(pushed["pushed"], false, "{pushed}");
    assert_eq!(of(&pushed, "b")["pushed"], true, "{pushed}");
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["entries"]),
        (&json!(2), &json!(2)),
        "{update}"
    );

    by_hand(&apps[0], 1, 2);
    let refreshed = order(&apps[2], "refresh").await;
    assert_eq!(refreshed["version"], 3, "{refreshed}");
    assert_eq!(of(&refreshed, "b")["version"], 3, "{refreshed}");
    let shown = apps[1].admin(ACTOR).await.ok();
    assert_eq!(of(&shown, "b")["version"], 3, "{shown}");

    let retired = order(&apps[2], "retire").await;
    assert_eq!(of(&retired, "b")["retired"], true, "{retired}");
    let frame = ws.next_frame("balance").await;
    assert_eq!(
        (&frame["reason"], &frame["version"]),
        (&json!("snapshot"), &json!(3))
    );
}

async fn a_process_that_is_stopped_is_named_and_the_others_answer(database: Database) {
    let Cluster { apps, nats: _nats } = Cluster::start(database).await;
    let (mut at_b, _) = apps[1].session(1).await;
    let (mut at_c, _) = apps[2].session(1).await;
    apps[1].signal("STOP");
    let shown = apps[0].admin(ACTOR).await.ok();
    assert_eq!(names(&shown, "nodes"), ["a", "c"], "{shown}");
    assert_eq!(names(&shown, "not_heard_of"), ["b"], "{shown}");
    let answer = order(&apps[0], "disconnect").await;
    assert_eq!(names(&answer, "nodes"), ["a", "c"], "{answer}");
    assert_eq!(names(&answer, "not_heard_of"), ["b"], "{answer}");
    assert_eq!(at_c.closed().await.0, 4510);
    apps[1].signal("CONT");
    are_covered(&apps).await;
    let answer = order(&apps[0], "disconnect").await;
    assert_eq!(names(&answer, "nodes"), ["a", "b", "c"], "{answer}");
    assert_eq!(at_b.closed().await.0, 4510);
}

async fn while_the_bus_is_away_the_own_process_carries_orders_out(database: Database) {
    let Cluster { apps, nats } = Cluster::start(database).await;
    let (mut at_a, _) = apps[0].session(1).await;
    let (mut at_b, _) = apps[1].session(1).await;
    nats.end("KILL");
    let answer = order(&apps[0], "disconnect").await;
    assert_eq!(at_a.closed().await.0, 4510);
    assert_eq!(names(&answer, "nodes"), ["a"], "{answer}");
    assert_eq!(names(&answer, "not_heard_of"), ["b", "c"], "{answer}");
    assert_eq!(of(&answer, "a")["sessions_closed"], 1, "{answer}");
    let nowhere = apps[0].admin("/admin/v1/actors/7").await;
    assert_eq!(nowhere.status, 404);
    nats.start_again();
    are_covered(&apps).await;
    order(&apps[0], "disconnect").await;
    assert_eq!(at_b.closed().await.0, 4510);
}

/// Sends messages to a server as another program would.
fn publish(nats: &Nats, subject: &str, payloads: &[&str]) {
    let mut stream = TcpStream::connect(nats.addr()).expect("the server listens");
    let mut sent = "CONNECT {\"verbose\":false}\r\n".to_owned();
    for payload in payloads {
        sent += &format!("PUB {subject} {}\r\n{payload}\r\n", payload.len());
    }
    stream
        .write_all((sent + "PING\r\n").as_bytes())
        .expect("sent");
    let mut answered = String::new();
    let mut some = [0; 4096];
    while !answered.contains("PONG") {
        let count = stream.read(&mut some).expect("answered");
        assert!(count > 0, "{answered}");
        answered += &String::from_utf8_lossy(&some[..count]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubled_orders_are_carried_out_once_and_what_is_unknown_is_counted() {
    let nats = Nats::start();
    let table = Table::default();
    let a = Node::start("a", &settings(nats.url()), &table);
    let b = Node::start("b", &settings(nats.url()), &table);
    covered(&[&a, &b]).await;
    let head = r#""v":1,"epoch":"8c1f0a52d7e94b36","node":"x","boot":"x""#;
    let order = format!("{{{head},\"order\":1,\"action\":\"push\",\"user\":184,\"later\":[]}}");
    let unknown = format!("{{{head},\"order\":2,\"action\":\"pay\",\"user\":184}}");
    let version = format!("{{{},\"order\":3}}", head.replace(":1", ":2"));
    let all: [&str; 7] = [&order, &order, "{", &unknown, "", &version, &order];
    publish(&nats, "balance.v1.balance.order", &all);
    for node in [&a, &b] {
        eventually("all of it is counted", async || {
            let text = node.counters.render();
            let has = |reason: &str, count: u32| {
                let line = format!("balance_cluster_gaps_total{{reason=\"{reason}\"}} {count}");
                text.lines().any(|found| found == line)
            };
            (has("doubled", 2) && has("unreadable", 4)).then_some(())
        })
        .await;
        let orders = node.told.orders.lock().expect("no panic").clone();
        assert_eq!(orders, [("x".to_owned(), Action::Push, 184)]);
        assert!(node.is_covered());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_named_and_not_waited_for_until_it_is_heard_again() {
    let nats = Nats::start();
    let relay = Relay::start(nats.addr()).await;
    let table = Table::default();
    let a = Node::start("a", &settings(nats.url()), &table);
    let b = Node::start("b", &settings(&format!("nats://{}", relay.addr)), &table);
    covered(&[&a, &b]).await;
    let names = |names: &[NodeName]| -> Vec<String> {
        let names = names.iter().map(|name| name.node.clone());
        names.collect()
    };
    relay.set(Passes::NONE);
    eventually("b is silent", async || {
        a.running.view.borrow().nodes[0].is_silent.then_some(())
    })
    .await;
    let others = a.order(Action::Push, 184).await;
    assert!(others.answered.is_empty());
    assert_eq!(names(&others.not_heard_of), ["b"]);

    relay.set(Passes::ALL);
    covered(&[&a, &b]).await;
    heard_by_all(&[&a, &b], 184).await;
    let others = a.order(Action::Push, 184).await;
    let answered: Vec<_> = others.answered.into_iter().map(|said| said.name).collect();
    assert_eq!(names(&answered), ["b"]);
    assert!(others.not_heard_of.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_no_orders_is_named() {
    let nats = Nats::start();
    let table = Table::default();
    let nodes = ["a", "b", "c"].map(|name| Node::start(name, &settings(nats.url()), &table));
    let [a, b, c] = &nodes;
    covered(&[a, b, c]).await;
    eventually("a knows of both", async || {
        (a.running.view.borrow().nodes.len() == 2).then_some(())
    })
    .await;
    // It answers none, as one of an earlier version.
    b.told.is_full.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let others = a.order(Action::Retire, 184).await;
        let answered: Vec<_> = others
            .answered
            .iter()
            .map(|said| &*said.name.node)
            .collect();
        let silent: Vec<_> = others.not_heard_of.iter().map(|name| &*name.node).collect();
        assert_eq!((answered, silent), (vec!["c"], vec!["b"]));
    }
}
