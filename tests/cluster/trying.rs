//! `deploy/cluster/try`: one command starts a cluster, whose nodes are started again when they end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Database, Process, eventually, on_postgres};

on_postgres![a_cluster_for_trying_starts_survives_its_nodes_and_ends_whole];

/// Ports from this one on are free: nothing else of the tests has a fixed one.
fn free_ports() -> u16 {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut firsts = (41_000..60_000).step_by(100);
    firsts
        .find(|first| {
            [0, 10, 11, 20, 21, 30, 31]
                .iter()
                .all(|n| is_free(first + n))
        })
        .expect("free ports")
}

async fn get(url: String) -> Option<String> {
    let client = reqwest::Client::builder().no_proxy().build();
    let answer = client.expect("a client").get(url).send().await.ok()?;
    (answer.status() == 200).then_some(answer.text().await.ok()?)
}

fn pid_of(dir: &Path, node: u8) -> String {
    let pid = std::fs::read_to_string(dir.join(format!("node-{node}.pid")));
    pid.expect("a file").trim().to_owned()
}

fn kill(signal: &str, pid: &str) {
    let status = Command::new("kill").args([signal, pid]).status();
    assert!(status.expect("kill runs").success());
}

async fn a_cluster_for_trying_starts_survives_its_nodes_and_ends_whole(_: Database) {
    let scratch = tempfile::tempdir().expect("a directory");
    let port = free_ports();
    let printed = scratch.path().join("printed");
    let out = std::fs::File::create(&printed).expect("a file");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/cluster/try");
    let mut child = Command::new(script)
        .arg(port.to_string())
        .env("BALANCE_COORDINATOR_BIN", Process::program_path())
        .env("SIMULATION_BUILD_MAY_SERVE", "1")
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a file"))
        .stderr(out)
        .spawn()
        .expect("the script starts");
    let is_covered = async |node: u16| {
        let internal = SocketAddr::from(([127, 0, 0, 1], port + 10 * node + 1));
        let metrics = get(format!("http://{internal}/metrics")).await?;
        let mut lines = metrics.lines();
        lines
            .any(|line| line == "balance_cluster_covered 1")
            .then_some(())
    };
    let told = async || std::fs::read_to_string(&printed).unwrap_or_default();
    let started = eventually("it says where everything is", async || {
        let told = told().await;
        told.contains("Ctrl-C ends all of it").then_some(told)
    });
    let started = started.await;
    let files = started.split("files        ").nth(1).expect("its folder");
    let dir = PathBuf::from(files.split(':').next().expect("a folder"));
    let page = get(format!("http://127.0.0.1:{port}/")).await;
    assert!(page.expect("the demo page").contains("<html"), "{started}");

    let before = pid_of(&dir, 1);
    kill("-TERM", &before);
    eventually("the node runs again and hears the others", async || {
        (pid_of(&dir, 1) != before).then_some(())?;
        is_covered(1).await
    })
    .await;
    get(format!("http://127.0.0.1:{port}/"))
        .await
        .expect("still there");

    let nodes = [1, 2, 3].map(|node| pid_of(&dir, node));
    kill("-TERM", &child.id().to_string());
    eventually("it ends", async || child.try_wait().expect("its state")).await;
    assert!(!dir.exists(), "its folder is gone");
    for pid in nodes {
        assert!(!Path::new("/proc").join(&pid).exists(), "{pid} has ended");
    }
}
