//! The load bench: each figure is measured beside a baseline of the same run.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example load -- all --out load.json --report load-plots
//! ```
//!
//! It starts the service as a child process on free ports and a new ledger, loads it from this
//! process, checks the results (sums, versions, no missing frame, `verify`), and compares each
//! figure with its gate. `docs/performance.md` explains the figures; start reading at [`gates`].

mod baselines;
mod bench;
mod client;
mod gates;
mod measure;
mod options;
mod report;
mod system;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use options::{Arguments, Command};

/// Any error; the bench does not distinguish them.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<bool> {
    raise_file_limit()?;
    match arguments.command {
        Command::EchoServer => baselines::echo::serve().map(|()| true),
        Command::OneByOneServer { database } => {
            baselines::one_by_one::serve(&database).map(|()| true)
        }
        command => gates::run(&command, arguments.common),
    }
}

/// The number of open files allowed to this process and its children.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}
