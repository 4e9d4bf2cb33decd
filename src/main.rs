//! The program: arguments, logging, run, exit code.

use std::process::ExitCode;

use balance_coordinator::{cli, telemetry};
use clap::Parser as _;

/// Entries are made in one thread and freed in another; the C library's allocator answers that with pauses of many
/// milliseconds, and each is a pause of all actors.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
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
