//! The program: arguments, logging, run, exit code.

use std::process::ExitCode;

use balance_coordinator::platform::StopSignals;
use balance_coordinator::{cli, telemetry};
use clap::Parser as _;

/// Entries are allocated on one thread and freed on another. The C library's allocator answers that with pauses of many
/// milliseconds, in which no actor runs; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything that may take time: as the first process of a container it would miss signals.
    let signals = StopSignals::listen();
    let arguments = cli::Arguments::parse();
    telemetry::log::init();
    let done = signals
        .map_err(cli::CliError::from)
        .and_then(|signals| cli::run(arguments, signals));
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::log::say(format_args!("balance-coordinator: {error}"));
            ExitCode::from(error.exit_code())
        }
    };
    telemetry::log::flush();
    code
}
