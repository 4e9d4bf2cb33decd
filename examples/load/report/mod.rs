//! The report: figures with baselines, ratios and gates, as a table, as JSON and as plots.

pub mod plots;

use std::fmt::Write as _;
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::measure::{curve, summary};

/// Failed checks that are printed; the JSON has all.
const TOLD_MAX: usize = 10;

/// The bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "rule", content = "value")]
pub enum Gate {
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
    /// No bound; the figure is only reported.
    None,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// The gate that measured it.
    pub run: &'static str,
    /// Its name.
    pub what: String,
    /// The value.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The baseline's name and value.
    pub baseline: Option<(String, f64)>,
    /// The ratio to the baseline.
    pub ratio: Option<f64>,
    /// The gate, for the ratio if there is one.
    pub gate: Gate,
}

impl Figure {
    /// A figure alone.
    pub fn new(run: &'static str, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            run,
            what: what.into(),
            value,
            unit,
            baseline: None,
            ratio: None,
            gate: Gate::None,
        }
    }

    /// Beside a baseline of the same unit.
    pub fn beside(mut self, name: impl Into<String>, baseline: f64) -> Self {
        self.ratio = Some(self.value / baseline);
        self.baseline = Some((name.into(), baseline));
        self
    }

    /// With a gate.
    pub const fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// Whether its gate holds; `None` without one.
    pub fn passes(&self) -> Option<bool> {
        let value = self.ratio.unwrap_or(self.value);
        match self.gate {
            Gate::AtLeast(least) => Some(value >= least),
            Gate::AtMost(most) => Some(value <= most),
            Gate::None => None,
        }
    }
}

impl std::fmt::Display for Figure {
    /// As a row of the table.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let baseline = self
            .baseline
            .as_ref()
            .map_or(String::new(), |(name, value)| {
                format!("{name} {}", shown(*value))
            });
        let ratio = self.ratio.map_or(String::new(), shown);
        let gate = match self.gate {
            Gate::AtLeast(least) => format!("≥ {}", shown(least)),
            Gate::AtMost(most) => format!("≤ {}", shown(most)),
            Gate::None => String::new(),
        };
        let verdict = self
            .passes()
            .map_or("", |passes| if passes { "pass" } else { "FAIL" });
        let value = format!("{} {}", shown(self.value), self.unit);
        write!(
            f,
            "| {} | {} | {value} | {baseline} | {ratio} | {gate} | {verdict} |",
            self.run, self.what
        )
    }
}

/// All results.
#[derive(Debug, Default)]
pub struct Report {
    /// Facts of the run: machine, commit, sizes.
    pub facts: Vec<(String, Value)>,
    /// Figures, in the order in which they were found.
    pub figures: Vec<Figure>,
    /// Latencies by name, in microseconds.
    pub latencies: Vec<(String, Histogram<u64>)>,
    /// Failed checks; then no figure means anything.
    pub failed_checks: Vec<String>,
    /// Checks that were made.
    pub checks: u64,
    /// Requests answered 503 and sent again, because the machine or the service could not keep up.
    pub unavailable: u64,
}

impl Report {
    /// Records a check.
    pub fn check(&mut self, what: impl FnOnce() -> String, holds: bool) {
        self.checks += 1;
        if !holds {
            let what = what();
            if self.failed_checks.len() < TOLD_MAX {
                eprintln!("CHECK FAILED: {what}");
            }
            self.failed_checks.push(what);
        }
    }

    /// Whether all checks and, where they count, all gates hold.
    pub fn is_good(&self, gates_count: bool) -> bool {
        let holds = |figure: &Figure| !gates_count || figure.passes() != Some(false);
        self.failed_checks.is_empty() && self.figures.iter().all(holds)
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| run | what | figure | baseline | ratio | gate | |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for figure in &self.figures {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{figure}");
        }
        let _ = writeln!(
            text,
            "\n{} checks, {} failed; {} requests were answered 503 and sent again",
            self.checks,
            self.failed_checks.len(),
            self.unavailable
        );
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let facts: serde_json::Map<String, Value> = self.facts.iter().cloned().collect();
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let mut value = json!(figure);
                value["passes"] = json!(figure.passes());
                value
            })
            .collect();
        let latencies: serde_json::Map<String, Value> = self
            .latencies
            .iter()
            .map(|(name, histogram)| {
                let mut value = summary(histogram);
                value["curve"] = json!(curve(histogram));
                (name.clone(), value)
            })
            .collect();
        json!({ "facts": facts, "figures": figures, "latencies": latencies, "checks": self.checks, "unavailable": self.unavailable,
            "failed_checks": self.failed_checks })
    }

    /// Writes the JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        std::fs::write(file, serde_json::to_string_pretty(&self.json())? + "\n")?;
        Ok(())
    }
}

/// Formats the significant digits.
pub fn shown(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".into(),
        large if large >= 1000.0 => {
            let whole = format!("{value:.0}");
            let (sign, digits) = whole
                .strip_prefix('-')
                .map_or(("", whole.as_str()), |digits| ("-", digits));
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            format!("{sign}{grouped}")
        }
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
