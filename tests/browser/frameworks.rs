//! The pages of docs/browser.md in their frameworks, built with the packed library and opened from websites of their own.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::driver::{Browser, folder_with};
use crate::in_a_browser;
use crate::page::dev;
use crate::site::Site;
use crate::support::Database;

in_a_browser![a_balance_is_live_in_each_framework_and_gone_after_the_sign_out];

/// Builds the pages, when the packages are there.
fn built() -> Option<PathBuf> {
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
    let Some(dist) = tokio::task::spawn_blocking(built).await.expect("it ends") else {
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
