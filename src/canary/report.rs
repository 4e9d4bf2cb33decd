//! What a run has found: for people (Markdown) and for programs (JSON).

use std::fmt::Write as _;

use serde::Serialize;

use crate::canary::Options;

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// How long it took, for the steps that are timed.
    pub ms: Option<f64>,
    /// What was seen.
    pub seen: String,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct CanaryReport {
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How long it took.
    pub took_s: f64,
    /// The service.
    pub url: String,
    /// The canary's user.
    pub user_id: i64,
    /// The currency of the deposit.
    pub currency: String,
    /// The amount of the deposit.
    pub amount: String,
    /// Whether nothing deviated.
    pub ok: bool,
    /// From sending the webhook to its answer, which comes after the commit.
    pub answer_ms: Option<f64>,
    /// From sending the webhook to the first session's frame.
    pub frame_ms: Option<f64>,
    /// From the commit to the push, by the service's own clock.
    pub push_ms: Option<f64>,
    /// From sending the webhook until the page in the browser reports that it is painted; only with a browser.
    pub painted_ms: Option<f64>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What was wrong.
    pub deviations: Vec<String>,
}

impl CanaryReport {
    pub(super) fn new(options: &Options, started_at: String) -> Self {
        Self {
            started_at,
            took_s: 0.0,
            url: options.url.clone(),
            user_id: options.user_id.get(),
            currency: options.currency.clone(),
            amount: options.amount.display(options.decimals).to_string(),
            ok: false,
            answer_ms: None,
            frame_ms: None,
            push_ms: None,
            painted_ms: None,
            steps: Vec::new(),
            deviations: Vec::new(),
        }
    }

    /// As a page.
    pub fn to_markdown(&self) -> String {
        let mut page = format!(
            "# Canary: {}\n\n{} {} for user {} at {}, {}, {:.1} s\n\n| step | ms | seen |\n| --- | ---: | --- |\n",
            if self.ok {
                "all well"
            } else {
                "something deviated"
            },
            self.amount,
            self.currency,
            self.user_id,
            self.url,
            self.started_at,
            self.took_s
        );
        for step in &self.steps {
            let ms = step.ms.map(|ms| format!("{ms:.2}")).unwrap_or_default();
            // Writing to a string can't fail.
            let _ = writeln!(
                page,
                "| {} | {ms} | {} |",
                step.name,
                step.seen.replace('|', "\\|")
            );
        }
        if !self.deviations.is_empty() {
            page.push_str("\n## Deviations\n\n");
        }
        for deviation in &self.deviations {
            let _ = writeln!(page, "- {deviation}");
        }
        page
    }
}
