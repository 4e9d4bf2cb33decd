//! The pages of docs/browser.md in their frameworks, built with the packed library and opened from websites of their own.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::json;
use tokio::sync::OnceCell;

use crate::driver::{Browser, folder_with};
use crate::in_a_browser;
use crate::page::dev;
use crate::site::Site;
use crate::support::{Database, eventually};

in_a_browser![
    a_balance_is_live_in_each_framework_and_gone_after_the_sign_out,
    a_fast_refresh_of_a_component_keeps_the_client_and_one_of_its_file_leaves_no_second_one,
];

/// Built once.
static BUILT: OnceCell<Option<PathBuf>> = OnceCell::const_new();

/// The built pages, when the packages are there.
async fn built() -> Option<&'static Path> {
    let build = || async { tokio::task::spawn_blocking(build).await.expect("it ends") };
    BUILT.get_or_init(build).await.as_deref()
}

fn build() -> Option<PathBuf> {
    let folder = folder_with("tests/browser/frameworks", "node_modules/next")?;
    let built = Command::new("node")
        .arg(folder.join("build.mjs"))
        .output()
        .expect("node starts");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    Some(folder.join("dist"))
}

async fn a_balance_is_live_in_each_framework_and_gone_after_the_sign_out() {
    let Some(dist) = built().await else {
        return;
    };
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", 184, "d0", "1234.5").await;
    let browser = Browser::start().await;
    let frameworks = ["plain", "react", "react18", "vue", "next"];
    for (number, framework) in frameworks.into_iter().enumerate() {
        let site = match framework {
            "plain" => Site::documented(&app, true).await,
            _ => Site::of(dist.join(framework)).await,
        };
        browser
            .goto(&format!("{}/?service=http://{}", site.origin, app.public))
            .await;
        let shows = |amount: &str| {
            format!("document.getElementById('balance')?.textContent.trim() === '{amount} TON'")
        };
        let before = 1234.5 + number as f64;
        browser
            .until(&shows(&format!("1,{}", before - 1000.0)))
            .await;
        app.accepted("deposits", 184, &format!("d-{framework}"), "1")
            .await;
        browser
            .until(&shows(&format!("1,{}", before - 999.0)))
            .await;
        if framework == "vue" {
            let element = "document.querySelector('ton-balance').shadowRoot.textContent";
            browser
                .until(&format!("{element} === '1,{}0'", before - 999.0))
                .await;
        }
        assert_eq!(browser.value("record.sockets").await, 1, "{framework}");
        browser
            .value("document.documentElement.dataset.user = ''")
            .await;
        browser.click("#sign-out").await;
        browser
            .until("document.getElementById('balance').textContent === '…'")
            .await;
        assert_eq!(
            browser.value("record.errors").await,
            json!([]),
            "{framework}"
        );
    }
    assert_eq!(app.metrics().await.value("balance_sessions"), 0.0);
    browser.close(false).await;
}

/// Vite's server of development, with a copy of the React page that a test may edit; gone when this is dropped.
struct Vite {
    process: Child,
    origin: String,
    copy: tempfile::TempDir,
    /// It ends when nothing takes what it prints.
    _printed: Lines<BufReader<ChildStdout>>,
}

impl Vite {
    fn start(frameworks: &Path) -> Self {
        // Below the packages, so that they are found.
        let made = frameworks.join("dist");
        let copy = tempfile::tempdir_in(made).expect("a directory");
        for name in [
            "react/index.html",
            "react/vite.config.js",
            "react/src/balance.js",
            "react/src/Balance.jsx",
            "react/src/main.jsx",
            "shared/token.js",
        ] {
            let to = copy.path().join(name);
            fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            fs::copy(frameworks.join(name), to).expect("copied");
        }
        let mut process = Command::new("node")
            .arg(frameworks.join("node_modules/vite/bin/vite.js"))
            .arg(copy.path().join("react"))
            // The port, or the next that is free.
            .args(["--host", "127.0.0.1", "--port", "5173", "--force"])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let origin = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("http://127.0.0.1:")?;
            Some(format!("http://127.0.0.1:{}", port.trim_end_matches('/')))
        });
        Self {
            process,
            origin: origin.expect("it tells its address"),
            copy,
            _printed: lines,
        }
    }

    /// Once, and as editors do it: who looks at the file finds it before or after, and never half of it.
    fn edit(&self, name: &str, edits: &[(&str, &str)]) {
        let file = self.copy.path().join("react/src").join(name);
        let mut text = fs::read_to_string(&file).expect("it is there");
        for (from, to) in edits {
            assert!(text.contains(from), "{name}: {from}");
            text = text.replacen(from, to, 1);
        }
        let written = self.copy.path().join(name);
        fs::write(&written, text).expect("written");
        fs::rename(written, file).expect("moved");
    }
}

impl Drop for Vite {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn a_fast_refresh_of_a_component_keeps_the_client_and_one_of_its_file_leaves_no_second_one() {
    let Some(dist) = built().await else {
        return;
    };
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", 184, "d0", "1").await;
    let frameworks = dist.parent().expect("their folder").to_owned();
    let vite = tokio::task::spawn_blocking(move || Vite::start(&frameworks));
    let vite = vite.await.expect("it starts");
    // The sign-out's button is another component, so that the client's file is imported by components alone.
    let edits = [
        ("import { client } from './balance.js';", ""),
        ("onClick={() => client.stop()}", ""),
    ];
    vite.edit("main.jsx", &edits);
    let browser = Browser::start().await;
    let url = format!("{}/?service=http://{}", vite.origin, app.public);
    browser.goto(&url).await;
    let shows = |version: u32, amount: &str| {
        format!(
            "document.querySelector('#balance[data-edit=\"{version}\"]')?.textContent === '{amount} TON'"
        )
    };
    browser
        .until("document.querySelector('#balance')?.textContent === '1 TON'")
        .await;
    browser.value("window.isSamePage = true").await;

    let edits = [
        ("<p id=\"balance\"", "<p data-edit=\"1\" id=\"balance\""),
        (
            "<p id=\"balance\" className",
            "<p data-edit=\"1\" id=\"balance\" className",
        ),
    ];
    vite.edit("Balance.jsx", &edits);
    browser.until(&shows(1, "1")).await;
    assert_eq!(
        browser
            .value(
                "[window.isSamePage, record.opened.filter(({ url }) => url.endsWith('/ws')).length]"
            )
            .await,
        json!([true, 1])
    );
    // The client's own file: another client, in the place of the first one.
    let edited = "client.start();\nwindow.edited = true;";
    vite.edit("balance.js", &[("client.start();", edited)]);
    browser.until("window.edited").await;
    app.accepted("deposits", 184, "d1", "1").await;
    browser.until(&shows(1, "2")).await;
    assert_eq!(browser.value("window.isSamePage").await, true);
    eventually("one connection", async || {
        Some(app.metrics().await.value("balance_sessions")).filter(|open| *open == 1.0)
    })
    .await;
    assert_eq!(browser.value("record.errors").await, json!([]));
    // Vite tells in the console what it does, and React where its tools are.
    let said = browser.console().await;
    let is_wrong =
        |line: &&serde_json::Value| line["level"] == "WARNING" || line["level"] == "SEVERE";
    let wrong: Vec<_> = said.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "the console said {wrong:#?}");
    browser.close(false).await;
}
