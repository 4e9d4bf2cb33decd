//! The program: arguments, logging, run, exit code.

mod allocator;

use std::process::ExitCode;

use balance_coordinator::{cli, telemetry};
use clap::Parser as _;

fn main() -> ExitCode {
    allocator::give_back_aside();
    let arguments = cli::Arguments::parse();
    telemetry::log::init();
    let code = match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::log::say(&format!("balance-coordinator: {error}\n"));
            ExitCode::from(error.exit_code())
        }
    };
    telemetry::log::flush();
    code
}
