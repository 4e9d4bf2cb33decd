//! The examples of load balancers in `deploy`, each in front of three processes: nothing but addresses and TLS is changed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::{Database, Signed, TestApp, Ws, eventually, on_postgres, token};
use crate::with_bus::Cluster;

on_postgres![
    the_examples_of_load_balancers_serve_sessions_and_webhooks_and_know_users_by_their_parameter,
];

/// A running load balancer, ended on drop.
struct Balancer {
    child: Child,
    public: SocketAddr,
    internal: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Nginx ends its workers when it is told so in order.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// The path of a program of the system; `None` where it is not installed, which is a fault in CI.
fn program(name: &str) -> Option<String> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders.map(|folder| format!("{folder}/{name}"));
    let found = found.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// An example with the addresses of this test.
fn adapted(example: &str, apps: &[TestApp], own: [(&str, SocketAddr); 2]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(example);
    let mut text = std::fs::read_to_string(path).expect("a file");
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "{example} has no {from}");
        text = text.replace(from, to);
    };
    for (index, app) in apps.iter().enumerate() {
        let node = format!("10.0.0.{}", 11 + index);
        replace(&format!("{node}:8080"), &app.public.to_string());
        replace(&format!("{node}:8081"), &app.internal.to_string());
    }
    for (from, to) in own {
        replace(from, &to.to_string());
    }
    text
}

async fn started(
    mut command: Command,
    [public, internal]: [SocketAddr; 2],
    dir: tempfile::TempDir,
) -> Balancer {
    let child = command.stdin(Stdio::null()).spawn().expect("it starts");
    let balancer = Balancer {
        child,
        public,
        internal,
        _dir: dir,
    };
    eventually("the load balancer listens", async || {
        let both = [public, internal].map(std::net::TcpStream::connect);
        both.iter().all(Result::is_ok).then_some(())
    })
    .await;
    balancer
}

async fn nginx(program: &str, apps: &[TestApp]) -> Balancer {
    let (public, internal) = (free(), free());
    let own = [("443 ssl", public), ("10.0.0.10:8081", internal)];
    let example = adapted("deploy/nginx/cluster.conf", apps, own);
    let lines = example
        .lines()
        .filter(|line| !line.trim_start().starts_with("ssl_certificate"));
    let example = lines.collect::<Vec<_>>().join("\n");
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().display();
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = folders
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/log; events {{}}\n\
         http {{ access_log off; {folders}{example}\n}}"
    );
    let path = dir.path().join("nginx.conf");
    std::fs::write(&path, config).expect("written");
    let mut command = Command::new(program);
    command
        .arg("-e")
        .arg(dir.path().join("log"))
        .arg("-c")
        .arg(path);
    started(command, [public, internal], dir).await
}

async fn haproxy(program: &str, apps: &[TestApp]) -> Balancer {
    let (public, internal) = (free(), free());
    let tls = ":443 ssl crt /etc/haproxy/balance.example.org.pem";
    let own = [(tls, public), ("10.0.0.10:8081", internal)];
    // As many as a test may have open.
    let example =
        adapted("deploy/haproxy/cluster.cfg", apps, own).replace("maxconn 200000", "maxconn 100");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("haproxy.cfg");
    std::fs::write(&path, example).expect("written");
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(path).stdout(Stdio::null());
    started(command, [public, internal], dir).await
}

/// How many entries each process has taken.
async fn taken(apps: &[TestApp]) -> Vec<u64> {
    let mut taken = Vec::new();
    for app in apps {
        let scrape = app.metrics().await;
        let name = "balance_entries_total{kind=\"deposit\",outcome=\"accepted\"}";
        taken.push(scrape.samples.get(name).map_or(0, |count| *count as u64));
    }
    taken
}

async fn the_examples_of_load_balancers_serve_sessions_and_webhooks_and_know_users_by_their_parameter(
    database: Database,
) {
    let Cluster {
        mut apps,
        nats: _nats,
    } = Cluster::start(database).await;
    let mut balancers = Vec::new();
    if let Some(program) = program("nginx") {
        balancers.push(("nginx", nginx(&program, &apps).await));
    }
    if let Some(program) = program("haproxy") {
        balancers.push(("haproxy", haproxy(&program, &apps).await));
    }
    let mut version = 0;
    for (name, balancer) in &balancers {
        let bearer = format!("Bearer {}", token(1));
        let headers = [
            ("authorization", bearer.as_str()),
            ("sec-websocket-protocol", "balance.v1"),
        ];
        let dialled = Ws::dial(balancer.public, &headers)
            .await
            .expect("an answer");
        let mut ws = dialled.expect("a session");
        ws.next_frame("hello").await;
        let snapshot = ws.next_frame("balance").await;
        assert_eq!(snapshot["version"], version, "{name}");
        let sender = apps[0].sender_to(balancer.internal);
        let mut send = async |query: &str| {
            version += 1;
            let body = json!({"event_id": format!("d{version}"), "user_id": 1, "currency": "TON", "amount": "1"});
            let request = Signed::post(&format!("/internal/v1/deposits{query}"), &body);
            sender.insist(request).await;
        };
        let before = taken(&apps).await;
        for _ in 0..12 {
            send("?user=1").await;
        }
        let after = taken(&apps).await;
        let grown = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        assert_eq!(
            grown.count(),
            1,
            "{name}: one node has them all: {before:?} {after:?}"
        );
        for _ in 0..24 {
            send("").await;
        }
        let spread = taken(&apps).await;
        assert!(
            after
                .iter()
                .zip(&spread)
                .all(|(before, after)| before < after),
            "{name}: {spread:?}"
        );
        let mut seen = 0;
        while seen < version {
            seen = ws.next_frame("balance_update").await["version"]
                .as_i64()
                .expect("a version");
        }
        let at = format!("http://{}/admin/v1/registry", balancer.internal);
        let status = reqwest::get(at).await.expect("an answer").status();
        assert_eq!(
            status, 404,
            "{name}: administrators ask the nodes themselves"
        );
    }
    // A node is removed: the others take its webhooks.
    assert!(apps[1].stop().await.success());
    for (name, balancer) in &balancers {
        let sender = apps[0].sender_to(balancer.internal);
        for n in 0..12 {
            let body = json!({"event_id": format!("{name}:{n}"), "user_id": 2 + n, "currency": "TON", "amount": "1"});
            sender
                .insist(Signed::post(
                    &format!("/internal/v1/deposits?user={}", 2 + n),
                    &body,
                ))
                .await;
        }
    }
    apps[0].assert_ledger_holds();
}
