//! `migrate`: brings the ledger's tables up to date and stops.

use clap::Args;

use crate::app::prepare::prepare;
use crate::cli::{CliError, ConfigOption, print_line};
use crate::ledger;
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
        let done = actix::System::new().block_on(prepare(&mut signals, move |progress| {
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
