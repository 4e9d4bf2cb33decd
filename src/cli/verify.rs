//! `verify`: audits the ledger.

use clap::Args;

use crate::cli::{CliError, ConfigOption, print_line};
use crate::ledger::audit;

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    config: ConfigOption,
}

impl Verify {
    /// Prints every violation as it is found; the audit goes on when standard output is closed, because the exit
    /// code is an answer, too.
    pub(super) fn run(self) -> Result<(), CliError> {
        let database = self.config.load()?.database;
        let mut printed = Ok(());
        let report = audit::verify(&database.url, &database.schema, &mut |violation| {
            if printed.is_ok() {
                printed = print_line(&violation);
            }
        })?;
        if report.violations > 0 {
            return Err(CliError::Violations(report.violations));
        }
        printed?;
        print_line(&format!(
            "the ledger holds: {} users, {} entries",
            report.users, report.entries
        ))?;
        Ok(())
    }
}
