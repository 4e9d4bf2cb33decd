//! The diagnosis: one report that answers an operator's questions, and changes nothing.
//!
//! It reads the settings, the running service through the endpoints for administrators and Prometheus (with a bound on
//! each wait and each answer), and a log. A service that does not answer is a finding, not a failure. Start reading at
//! [`diagnose`].

mod facts;
mod findings;
mod lately;
mod log_counts;
mod readings;
mod render;
mod risks;
mod samples;
mod service;
mod standing;
mod thresholds;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::config::Settings;

pub(crate) use findings::{CROWD, findings};
use log_counts::{LogCounts, LogReport};
pub(crate) use readings::Readings;
pub(crate) use samples::Samples;
pub(crate) use service::Seen;

/// Bytes of a log that are read at once.
const READ_BYTES: usize = 1 << 20;

/// What to look at.
#[derive(Debug)]
pub struct Options {
    /// The configuration.
    pub settings: Settings,
    /// The file it is from.
    pub config_file: Option<PathBuf>,
    /// Where browsers find the service.
    pub url: String,
    /// Where administrators find it.
    pub internal_url: String,
    /// A log to count in; `-` is standard input.
    pub log: Option<PathBuf>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Balances are wrong or late, or strangers can get in: act now.
    High,
    /// It will cause trouble: act soon.
    Medium,
    /// Could be better.
    Low,
}

/// A problem that an operator should look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// Which one, for programs.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong; `title` in the service's answers.
    #[serde(alias = "title")]
    pub what: String,
    /// Where it shows.
    pub evidence: String,
    /// What to do next.
    pub next_step: String,
    /// Since when it is so, RFC 3339.
    pub since: Option<String>,
    /// The numbers of the evidence.
    pub values: Value,
}

impl Finding {
    fn new(
        code: &str,
        severity: Severity,
        what: &str,
        evidence: impl Into<String>,
        next_step: &str,
    ) -> Self {
        Self {
            code: code.to_owned(),
            severity,
            what: what.to_owned(),
            evidence: evidence.into(),
            next_step: next_step.to_owned(),
            since: None,
            values: json!({}),
        }
    }

    fn with(self, values: Value) -> Self {
        Self { values, ..self }
    }

    /// As the service tells it.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "code": self.code,
            "severity": self.severity,
            "title": self.what,
            "evidence": self.evidence,
            "next_step": self.next_step,
            "since": self.since,
            "values": self.values,
        })
    }
}

/// A number with its noun, for evidence.
fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// When it was made, RFC 3339.
    pub at: String,
    /// The version of the program that made it.
    pub version: &'static str,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What was seen, by the question that it answers.
    pub facts: Map<String, Value>,
    /// What the log says, when there was one.
    log: Option<LogReport>,
    /// The effective configuration, secrets masked.
    pub configuration: String,
}

/// Makes the report.
///
/// # Errors
/// When the log can't be read.
pub async fn diagnose(options: &Options) -> io::Result<Diagnosis> {
    let log = match &options.log {
        None => None,
        Some(path) if path.as_os_str() == "-" => {
            Some(LogCounts::read(io::stdin().lock())?.report())
        }
        Some(path) => {
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            let file = File::open(path).map_err(named)?;
            Some(
                LogCounts::read(BufReader::with_capacity(READ_BYTES, file))
                    .map_err(named)?
                    .report(),
            )
        }
    };
    let clock = Clock::system();
    let mut findings = risks::of_settings(&options.settings, options.config_file.as_deref());
    let seen = Seen::look(options).await;
    let facts = facts::facts(&seen, clock.wall());
    findings.extend(findings::unreachable(&seen));
    // A service that can't be asked, or is older, is judged by the same rules from here.
    let by_service = seen.findings.clone();
    findings.extend(by_service.unwrap_or_else(|| findings::findings(&seen, clock.wall())));
    findings.sort_by_key(|finding| finding.severity);
    Ok(Diagnosis {
        at: clock.wall().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        findings,
        facts,
        log,
        configuration: options.settings.to_masked_toml(),
    })
}

#[cfg(test)]
mod tests;
