//! `import` and `compare`: the real program beside the real service.

mod entries;

use std::collections::BTreeMap;
use std::process::Output;

use crate::support::{TestApp, run_program};

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
    let output = run_program(app.dir.path(), &arguments, &variables, file.as_bytes());
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
