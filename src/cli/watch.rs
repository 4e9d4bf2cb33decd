//! `watch`: the TON watcher, and what a person does with deposits that it could not match.

use std::io::{self, IsTerminal as _};

use clap::{Args, Subcommand};

use crate::cli::{CliError, ConfigOption, ended_by, print_line};
use crate::domain::{TxHash, UserId};
use crate::platform::StopSignals;
use crate::watcher::{Listed, Options, assign, unmatched, watch};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Watch {
    #[command(subcommand)]
    action: Option<Action>,
    /// End when every account is up to date
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    config: ConfigOption,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the deposits that have no user: JSON lines, or a table on a terminal
    Unmatched {
        #[command(flatten)]
        config: ConfigOption,
    },
    /// Credit a user with one of them; safe to run again
    Assign {
        /// Its transaction hash: hex, base64 or base64url
        #[arg(long, value_name = "HASH", value_parser = TxHash::parse)]
        tx: TxHash,
        /// The user
        #[arg(long, value_name = "ID", value_parser = UserId::parse)]
        user: UserId,
        #[command(flatten)]
        config: ConfigOption,
    },
}

impl Watch {
    /// What lists and assigns has nothing to finish when a signal comes.
    pub(super) fn run(self, signals: StopSignals) -> Result<(), CliError> {
        let Some(action) = self.action else {
            return follow(&options(self.config)?, self.once, signals);
        };
        ended_by(signals, || action.run())
    }
}

impl Action {
    fn run(self) -> Result<(), CliError> {
        match self {
            Self::Unmatched { config } => list(&unmatched(&options(config)?)?),
            Self::Assign { tx, user, config } => {
                let options = options(config)?;
                let sent = actix::System::new().block_on(assign(&options, tx, user))?;
                let line = format!("{tx}: credited to user {user} ({sent})");
                Ok(print_line(&line)?)
            }
        }
    }
}

fn options(config: ConfigOption) -> Result<Options, CliError> {
    let settings = config.load()?;
    let secret = settings.require_watcher()?.clone();
    Ok(Options::new(&settings, secret))
}

/// Ends well at SIGTERM and SIGINT, too: what is under way is done again, or is a duplicate, at the next start.
fn follow(options: &Options, is_once: bool, mut signals: StopSignals) -> Result<(), CliError> {
    let is_shown = io::stderr().is_terminal();
    actix::System::new().block_on(async {
        tokio::select! {
            watched = watch(options, is_once, is_shown) => Ok(watched?),
            name = signals.next() => {
                log::info!("stopped by {name}");
                // What was to end by itself is not up to date.
                if is_once { Err(CliError::Interrupted) } else { Ok(()) }
            }
        }
    })
}

fn list(waiting: &[Listed]) -> Result<(), CliError> {
    if !io::stdout().is_terminal() {
        for one in waiting {
            let line = serde_json::to_string(one).map_err(io::Error::other)?;
            print_line(&line)?;
        }
        return Ok(());
    }
    for one in waiting {
        let comment = one.comment.as_deref().unwrap_or_default();
        let shown: String = comment.chars().filter(|c| !c.is_control()).collect();
        print_line(&format!(
            "{}  {:>24} {:<6}  {:<20}  {shown}\n    {}",
            one.occurred_at, one.amount, one.currency, one.reason, one.tx_hash
        ))?;
    }
    Ok(())
}
