//! `migrate`: brings the ledger's tables up to date and stops.

use clap::Args;

use crate::cli::{CliError, ConfigOption, print_line};
use crate::ledger;

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// After the ledger was restored from an older copy: make a new epoch, so that clients start over
    #[arg(long)]
    new_epoch: bool,
    #[command(flatten)]
    config: ConfigOption,
}

impl Migrate {
    pub(super) fn run(self) -> Result<(), CliError> {
        let settings = self.config.load()?;
        let applied = ledger::migrate(&settings.database.url, self.new_epoch)?;
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
