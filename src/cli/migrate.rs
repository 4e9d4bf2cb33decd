//! `migrate`: brings the ledger's tables up to date and stops.

use std::io::{self, IsTerminal as _};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::app::prepare::{logged, prepare};
use crate::cli::{CliError, ConfigOption, print_line};
use crate::ledger::{self, Seen};
use crate::platform::StopSignals;

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// After the ledger was restored from an older copy: make a new epoch, so that clients start over
    #[arg(long)]
    new_epoch: bool,
    #[command(flatten)]
    config: ConfigOption,
}

impl Migrate {
    pub(super) fn run(self, mut signals: StopSignals) -> Result<(), CliError> {
        let database = self.config.load()?.database;
        let new_epoch = self.new_epoch;
        let done = actix::System::new().block_on(prepare(&mut signals, shown(), move |progress| {
            ledger::migrate(&database.url, &database.schema, new_epoch, progress)
        }));
        let Some(applied) = done? else {
            return Err(CliError::Interrupted);
        };
        for migration in &applied {
            print_line(&format!("applied {migration}"))?;
        }
        if applied.is_empty() {
            print_line("up to date")?;
        }
        if self.new_epoch {
            print_line("new epoch")?;
        }
        Ok(())
    }
}

/// A bar while entries are filled in, on a terminal; lines of the log otherwise.
fn shown() -> impl FnMut(&Seen) {
    let mut log = logged();
    let mut bar: Option<ProgressBar> = None;
    move |seen| match seen.filled {
        Some((filled, total)) if io::stderr().is_terminal() => {
            let bar = bar.get_or_insert_with(|| new_bar(filled));
            bar.set_length(total);
            bar.set_position(filled);
        }
        _ => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
            log(seen);
        }
    }
}

/// An interrupted filling does not begin at zero.
fn new_bar(filled: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "filling in entries {bar:40} {percent}% {elapsed}, {eta} left";
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_position(filled);
    bar.reset_eta();
    bar
}
