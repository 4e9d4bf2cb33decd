//! `canary`: the controlled test of a running service.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use crate::canary;
use crate::canary::{CanaryReport, Interrupts, Options};
use crate::cli::{CliError, ConfigOption, print_line};
use crate::credentials::access::CurrentAccess;
use crate::domain::UserId;
use crate::platform::StopSignals;

/// The time between two steps of the spinner, in milliseconds.
const TICK_MS: u64 = 100;

/// The longest watch, in seconds: a day.
const WATCH_S_MAX: u64 = 86_400;

#[derive(Debug, Args)]
pub(super) struct Canary {
    /// Where browsers find the service [default: http:// and server.public_addr]
    #[arg(long, value_name = "URL", value_parser = base_url)]
    url: Option<String>,
    /// Where back ends find it [default: http:// and server.internal_addr]
    #[arg(long, value_name = "URL", value_parser = base_url)]
    internal_url: Option<String>,
    /// The canary: a user that nothing else writes to
    #[arg(long, value_name = "ID", value_parser = UserId::parse)]
    user: UserId,
    /// The amount that is deposited, and taken back at the end
    #[arg(long, value_name = "AMOUNT", default_value = "0.1")]
    amount: String,
    /// The currency of the deposit
    #[arg(long, value_name = "CODE", default_value = "TON")]
    currency: String,
    /// How long the balance is watched, such as 30s, 5m or 1h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    watch: Duration,
    /// Shows the balance in a headless Chromium, too, and times it until it is painted
    #[arg(long)]
    browser: bool,
    /// Which Chromium [default: CHROMIUM, or chromium, chromium-browser or google-chrome on the PATH]
    #[arg(long, value_name = "PATH", requires = "browser")]
    chromium: Option<PathBuf>,
    /// Writes the report to a file, too: Markdown, or JSON when its name ends in .json; may be given again
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigOption,
}

impl Canary {
    pub(super) fn run(self, signals: StopSignals) -> Result<(), CliError> {
        let mut settings = self.config.load()?;
        let access = CurrentAccess::take(&mut settings);
        let options = Options::new(
            &settings,
            access,
            self.user,
            &self.currency,
            &self.amount,
            self.watch,
        );
        let options = options.map_err(|error| CliError::Usage(error.to_string()))?;
        let url = self.url.unwrap_or_else(|| options.url.clone());
        let internal_url = self
            .internal_url
            .unwrap_or_else(|| options.internal_url.clone());
        let browser = self
            .browser
            .then(|| canary::find_chromium(self.chromium.as_deref()))
            .transpose();
        let options = Options {
            url,
            internal_url,
            browser: browser.map_err(CliError::Usage)?,
            ..options
        };
        let bar = bar();
        let report = actix::System::new().block_on(async {
            canary::run(&options, interrupts(signals), &mut |what| {
                bar.set_message(what.to_owned());
            })
            .await
        });
        bar.finish_and_clear();
        for file in &self.out {
            std::fs::write(file, rendered(&report, file))?;
        }
        print_line(report.to_markdown().trim_end())?;
        if report.ok {
            Ok(())
        } else {
            Err(CliError::Deviations(report.deviations.len()))
        }
    }
}

/// Counts SIGINT and SIGTERM: at the first the run takes its deposit back, at the second it ends at once.
fn interrupts(mut signals: StopSignals) -> Interrupts {
    let (counting, counted) = watch::channel(0);
    actix::spawn(async move {
        loop {
            signals.next().await;
            counting.send_modify(|times| *times += 1);
        }
    });
    counted
}

fn rendered(report: &CanaryReport, file: &Path) -> String {
    if file
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        serde_json::to_string_pretty(report)
            .map(|text| text + "\n")
            .unwrap_or_default()
    } else {
        report.to_markdown()
    }
}

fn bar() -> ProgressBar {
    let is_seen = std::io::stderr().is_terminal();
    let target = if is_seen {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(
        ProgressStyle::with_template("{spinner} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(TICK_MS));
    bar
}

/// `http://host:port` or `https://host`, without a path.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => {
            Ok(text.to_owned())
        }
        _ => Err("must be http:// or https:// and a host".to_owned()),
    }
}

/// `30s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be a number and s, m or h, at most {WATCH_S_MAX}s");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number
        .checked_mul(factor)
        .filter(|s| *s <= WATCH_S_MAX)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_addresses_are_read_or_refused() {
        for (text, seconds) in [
            ("0s", 0),
            ("30s", 30),
            ("5m", 300),
            ("1h", 3600),
            ("24h", 86_400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "-1s", "1.5m", "25h", "5 m", "5ü"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(
            base_url("https://a.example/").as_deref(),
            Ok("https://a.example")
        );
        for text in [
            "a.example",
            "http://",
            "http://a/b",
            "http://u:p@a",
            "ftp://a",
        ] {
            assert!(base_url(text).is_err(), "{text}");
        }
    }
}
