//! The program: arguments, logging, run, exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use balance_coordinator::{cli, telemetry};
use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    telemetry::log::init();
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to when standard error is closed.
            let _ = writeln!(io::stderr(), "balance-coordinator: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
