//! `compare`: where the balances of another system and the ledger's differ.

use std::path::PathBuf;

use clap::Args;

use crate::cli::CliError;
use crate::cli::migrating::{Service, Teller};
use crate::migration::{Input, compare};

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Balances (user_id, currency, amount): JSON lines, or CSV with a header; - is standard input
    #[arg(long, value_name = "FILE")]
    balances: PathBuf,
    #[command(flatten)]
    service: Service,
}

impl Compare {
    pub(super) fn run(self) -> Result<(), CliError> {
        let options = self.service.options()?;
        let mut teller = Teller::new(None)?;
        let input = Input::open(&self.balances)?;
        let compared = actix::System::new().block_on(compare(&options, input, &mut teller));
        teller.end()?;
        let compared = compared?;
        match (compared.differences, compared.rejected) {
            (0, 0) => Ok(()),
            (0, rejected) => Err(CliError::Rejected(rejected)),
            (differences, _) => Err(CliError::Differences(differences)),
        }
    }
}
