//! The command line: one file per command, each a `run` that does its work and returns.
//!
//! Owns arguments, what is printed to standard output, and which failure ends with which exit code. Standard error
//! belongs to the log and to the last line of a failed command. Start reading at [`run`].

mod canary;
mod compare;
mod diagnose;
mod import;
mod migrate;
mod migrating;
mod reloading;
pub mod serve;
mod sign;
mod token;
mod verify;
mod watch;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::app::AppError;
use crate::config::{
    ConfigError, LogFormat, Settings, Sources, Values, environment, wished_log_format,
};
use crate::credentials::session_token::TokenError;
use crate::ledger::LedgerError;
use crate::migration::MigrationError;
use crate::platform::StopSignals;
use crate::telemetry;
use crate::watcher::WatchError;

/// What `--version` prints. A build with planted faults says so.
const VERSION: &str = if cfg!(feature = "simulation") {
    concat!(env!("CARGO_PKG_VERSION"), " (simulation)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Signed webhooks in, a durable ledger, live browser sessions out.
#[derive(Debug, Parser)]
#[command(name = "balance-coordinator", version = VERSION, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Serve),
    /// Apply the migrations and stop
    Migrate(migrate::Migrate),
    /// Audit the ledger: one line per violation, and exit code 1 when there is any
    Verify(verify::Verify),
    /// Test a running service with a small deposit; exit code 1 when anything deviates
    Canary(canary::Canary),
    /// Report on a running service, its settings and its log, without changing anything
    Diagnose(diagnose::Diagnose),
    /// Bring over entries or balances of another system
    Import(import::Import),
    /// Tell where the balances of another system and the ledger's differ
    Compare(compare::Compare),
    /// Follow TON accounts: final deposits on chain become signed webhooks
    Watch(watch::Watch),
    /// Print a session token, or check one
    Token(token::Token),
    /// Print the webhook-signature value for the body on standard input
    Sign(sign::Sign),
}

/// Where a command finds its configuration.
#[derive(Debug, Args)]
struct ConfigOption {
    /// TOML file; environment variables (BALANCE_…) win over it
    #[arg(long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ConfigOption {
    /// The settings of the defaults, the file and the environment.
    fn load(self) -> Result<Settings, ConfigError> {
        load(&self.sources()?).map(|(settings, _)| settings)
    }

    fn sources(self) -> Result<Sources, ConfigError> {
        Ok(Sources {
            dev_file: None,
            file: self.file,
            environment: environment()?,
        })
    }
}

/// Loads the settings of a command. From then on the log has their format; so has the line that says why they can't be used.
fn load(sources: &Sources) -> Result<(Settings, Values), ConfigError> {
    let loaded = Settings::load_with_values(sources);
    let format = match &loaded {
        Ok((settings, _)) => settings.log.format,
        Err(_) => wished_log_format(sources),
    };
    telemetry::log::set_json(format == LogFormat::Json);
    loaded
}

/// Why a command failed; the text is the last line on standard error.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments cannot be used, in a way that the argument parser could not see.
    #[error("{0}")]
    Usage(String),
    /// A program that was built for tests is asked to serve.
    #[error(
        "this program was built with the feature simulation, by cargo test or cargo bench, and is no release; build it again: cargo build --release"
    )]
    SimulationBuild,
    /// The token that was to be checked is not good.
    #[error("{error} (auth.session_user_claim is {claim:?})")]
    Token {
        /// The cause.
        error: TokenError,
        /// The claim that names the user.
        claim: String,
    },
    /// The ledger failed.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// A signal came before the command was done.
    #[error("interrupted")]
    Interrupted,
    /// The service failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The ledger breaks its invariants; each violation was printed.
    #[error("the ledger does not hold: {0} violations")]
    Violations(u64),
    /// The canary has found deviations; each was printed.
    #[error("the canary found {0} deviations")]
    Deviations(usize),
    /// An import or a comparison has ended before its time.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// Lines of a file were refused; each was told.
    #[error("{0} lines were refused")]
    Rejected(u64),
    /// Balances differ; each was printed.
    #[error("{0} balances differ")]
    Differences(u64),
    /// The watcher can't go on.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Standard input or output failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CliError {
    /// 2 when the caller has to change the command, the configuration or the program, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::App(AppError::Config(_))
            | Self::Usage(_)
            | Self::SimulationBuild => 2,
            Self::Token { .. }
            | Self::Ledger(_)
            | Self::Interrupted
            | Self::App(_)
            | Self::Violations(_)
            | Self::Deviations(_)
            | Self::Migration(_)
            | Self::Rejected(_)
            | Self::Differences(_)
            | Self::Watch(_)
            | Self::Io(_) => 1,
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// [`CliError`], of which [`CliError::exit_code`] makes the exit code.
pub fn run(arguments: Arguments, signals: StopSignals) -> Result<(), CliError> {
    match arguments.command {
        Command::Serve(command) => command.run(signals),
        Command::Migrate(command) => command.run(signals),
        Command::Canary(command) => command.run(signals),
        Command::Verify(command) => ended_by(signals, || command.run()),
        Command::Diagnose(command) => ended_by(signals, || command.run()),
        Command::Token(command) => ended_by(signals, || command.run()),
        Command::Sign(command) => ended_by(signals, || command.run()),
        Command::Watch(command) => command.run(signals),
        Command::Import(command) => ended_by(signals, || command.run()),
        Command::Compare(command) => ended_by(signals, || command.run()),
    }
}

/// Runs a command that has nothing to finish when a signal comes.
fn ended_by(
    signals: StopSignals,
    run: impl FnOnce() -> Result<(), CliError>,
) -> Result<(), CliError> {
    signals.end_process()?;
    run()
}

/// Prints a line to standard output; a closed one is an error, not a panic.
fn print_line(line: &str) -> Result<(), io::Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
