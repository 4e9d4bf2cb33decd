//! `import`: entries and balances of another system are brought over.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::cli::migrating::{Service, Teller};
use crate::cli::{CliError, print_line};
use crate::migration::{Input, import_balances, import_entries};

/// The longest label: event ids have room for 128 characters.
const LABEL_CHARS_MAX: usize = 64;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(super) struct Import {
    /// Entries, in their order: JSON lines with the fields of batch items, or CSV with a header; - is standard input
    #[arg(long, value_name = "FILE", group = "what")]
    entries: Option<PathBuf>,
    /// Balances to align the ledger with (user_id, currency, amount): JSON lines or CSV; - is standard input
    #[arg(long, value_name = "FILE", group = "what", requires = "label")]
    balances: Option<PathBuf>,
    /// With --balances: makes each adjustment count once; a new label for a new alignment
    #[arg(long, value_name = "NAME", conflicts_with = "entries", value_parser = label)]
    label: Option<String>,
    /// Check the file, tell what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Writes the refused lines there, as JSON lines with line, code, detail and content
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    #[command(flatten)]
    service: Service,
}

impl Import {
    pub(super) fn run(self) -> Result<(), CliError> {
        let options = self.service.options()?;
        let mut teller = Teller::new(self.rejects.as_deref())?;
        let system = actix::System::new();
        let is_dry_run = self.dry_run;
        let (counts, names) = match (self.entries, self.balances) {
            (Some(file), _) => {
                let input = Input::open(&file)?;
                let work = import_entries(&options, input, is_dry_run, &mut teller);
                let names = if is_dry_run {
                    ["valid", "duplicates", "rejected"]
                } else {
                    ["accepted", "duplicates", "rejected"]
                };
                (system.block_on(work), names)
            }
            (None, Some(file)) => {
                let input = Input::open(&file)?;
                let label = self.label.unwrap_or_default();
                let work = import_balances(&options, input, &label, is_dry_run, &mut teller);
                let names = if is_dry_run {
                    ["would_adjust", "unchanged", "rejected"]
                } else {
                    ["accepted", "unchanged", "rejected"]
                };
                (system.block_on(work), names)
            }
            (None, None) => {
                return Err(CliError::Usage("--entries or --balances is needed".into()));
            }
        };
        teller.end()?;
        let counts = counts?;
        for (name, count) in names
            .iter()
            .zip([counts.accepted, counts.known, counts.rejected])
        {
            print_line(&format!("{name}: {count}"))?;
        }
        match counts.rejected {
            0 => Ok(()),
            rejected => Err(CliError::Rejected(rejected)),
        }
    }
}

/// A part of event ids.
fn label(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !text.is_empty() && text.len() <= LABEL_CHARS_MAX && text.chars().all(is_good) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1 to {LABEL_CHARS_MAX} of letters, digits, . _ -"
        ))
    }
}
