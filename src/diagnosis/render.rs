//! The report as Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use super::Diagnosis;
use super::log_counts::{LogReport, Span};

/// Minutes of a log that the page shows, the latest; JSON has all of them.
const MINUTES_SHOWN: usize = 60;

impl Diagnosis {
    /// As Markdown.
    pub fn to_markdown(&self) -> String {
        let mut page = format!(
            "# Diagnosis\n\n{}, balance-coordinator {}\n\n## Findings\n\n",
            self.at, self.version
        );
        if self.findings.is_empty() {
            page.push_str("No findings.\n");
        }
        for finding in &self.findings {
            let severity = format!("{:?}", finding.severity).to_lowercase();
            let (what, evidence, next_step) = (
                &finding.what,
                one_line(&finding.evidence),
                &finding.next_step,
            );
            // Writing to a string can't fail, here and below.
            let _ = writeln!(
                page,
                "- **{severity}**: {what}\n  - evidence: {evidence}\n  - next step: {next_step}"
            );
        }
        for (name, fact) in &self.facts {
            let _ = writeln!(page, "\n## {}\n", capital(name));
            table(&mut page, fact);
        }
        if let Some(log) = &self.log {
            log_page(&mut page, log);
        }
        let _ = write!(
            page,
            "\n## Configuration\n\n```toml\n{}\n```\n",
            self.configuration.trim_end()
        );
        page
    }
}

fn log_page(page: &mut String, log: &LogReport) {
    let _ = writeln!(
        page,
        "\n## Log\n\n{} lines, {} bytes; {} of them counted without a time\n",
        log.lines, log.bytes, log.lines_without_time
    );
    page.push_str("| fragment | count | per minute |\n| --- | ---: | ---: |\n");
    for ((fragment, total), rate) in log.fragments.iter().zip(log.totals).zip(log.per_minute) {
        let _ = writeln!(page, "| `{fragment}` | {total} | {rate:.2} |");
    }
    match log.hit_ratio {
        Some(ratio) => drop(writeln!(page, "\nCache hit ratio: {:.1} %", ratio * 100.0)),
        None => page.push_str("\nNo cache lines: they are logged at `debug`.\n"),
    }
    let spans = [
        ("Busiest hours", log.busiest_hours.as_slice()),
        ("Busiest minute", log.busiest_minute.as_slice()),
        (
            "The latest minutes",
            &log.minutes[log.minutes.len().saturating_sub(MINUTES_SHOWN)..],
        ),
    ];
    for (title, spans) in spans.into_iter().filter(|(_, spans)| !spans.is_empty()) {
        let _ = writeln!(
            page,
            "\n### {title}\n\n| at | {} |\n| --- |{}",
            log.fragments.join(" | "),
            " ---: |".repeat(log.fragments.len())
        );
        for Span { at, counts } in spans {
            let _ = writeln!(
                page,
                "| {at} | {} |",
                counts.map(|count| count.to_string()).join(" | ")
            );
        }
    }
}

/// An object as rows; another value as it is.
fn table(page: &mut String, fact: &Value) {
    match fact {
        Value::Object(members) if !members.is_empty() => {
            page.push_str("| | |\n| --- | --- |\n");
            for (name, value) in members {
                let _ = writeln!(page, "| {name} | {} |", shown(value));
            }
        }
        Value::Null => page.push_str("Not known.\n"),
        other => drop(writeln!(page, "{}", shown(other))),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => one_line(text),
        Value::Null => "–".to_owned(),
        other => one_line(&other.to_string()),
    }
}

/// Fit for a row of a table.
fn one_line(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next()
        .map(|first| first.to_uppercase().chain(rest).collect())
        .unwrap_or_default()
}
