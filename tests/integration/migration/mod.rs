//! Moving here: `import` and `compare`, and what docs/migration.md tells, in an old application.

mod balances;
mod entries;
mod farming;
mod old_application;
mod old_pages;
mod page;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use crate::support::{TestApp, run_program};

/// The tables of the application that docs/migration.md is about.
const OLD_TABLES: &str = "
    CREATE TABLE users (
        id BIGINT PRIMARY KEY,
        balance_ton NUMERIC(24, 9) NOT NULL DEFAULT 0,
        balance_uni NUMERIC(24, 9) NOT NULL DEFAULT 0
    );
    CREATE TABLE transactions (
        id BIGSERIAL PRIMARY KEY, user_id BIGINT NOT NULL, type TEXT NOT NULL, currency TEXT NOT NULL,
        amount NUMERIC(24, 9) NOT NULL, hash TEXT, event_id TEXT UNIQUE, created_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );";

/// The blocks of one language in a section of docs/migration.md.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page
        .split_once(&format!("\n## {section}\n"))
        .unwrap_or_else(|| panic!("{section} on the page"));
    let section = rest.split("\n## ").next().expect("a section");
    let begin = format!("```{language}\n");
    let blocks = section.split(&begin).skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("its end").to_owned());
    blocks.collect()
}

/// Runs the program with the app's configuration, and `file` as `input`.
fn run(app: &TestApp, arguments: &[&str], file: &str) -> Ran {
    run_with(app, arguments, file, &[])
}

fn run_with(app: &TestApp, arguments: &[&str], file: &str, set: &[(&str, &str)]) -> Ran {
    std::fs::write(app.dir.path().join("input"), file).expect("written");
    let internal = format!("http://{}", app.internal);
    let service = ["--config", "config.toml", "--internal-url", &internal];
    let arguments = [arguments, &service].concat();
    let variables: Vec<(String, String)> = set
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let piped = if arguments.contains(&"-") { file } else { "" };
    let output = run_program(app.dir.path(), &arguments, &variables, piped.as_bytes());
    Ran::of(&output)
}

/// A balance, from the ledger.
async fn balance(app: &TestApp, user_id: u64, currency: &str) -> String {
    let path = format!("/internal/v1/users/{user_id}/balance?fresh=true");
    let answer = app.backend(&path).await.ok();
    let amount = answer["balances"][currency].as_str();
    amount.expect("a balance").to_owned()
}

/// What a run has said.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            error: text(&output.stderr),
        }
    }

    /// `accepted: 5`, a line each.
    fn counts(&self) -> BTreeMap<&str, u64> {
        let pairs = self.out.lines().filter_map(|line| line.split_once(": "));
        pairs
            .map(|(name, count)| (name, count.parse().expect("a number")))
            .collect()
    }

    #[track_caller]
    fn assert(&self, code: i32, counts: &[(&str, u64)]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.counts(), counts.iter().copied().collect(), "{self:?}");
    }
}
