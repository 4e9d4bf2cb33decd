//! The regression guard: figures that do not depend on how fast or busy a machine is, compared with `benches/recorded.toml`
//! with 10 % room.
//!
//! ```text
//! cargo run --release --example guard                 compares; fails when something has become worse
//! cargo run --release --example guard -- --record     writes what it finds as the new record
//! ```
//!
//! Instructions are counted by callgrind (`valgrind` has to be installed), allocations and bytes by an allocator of this
//! program. Each figure is the difference between a long and a short run, so that the start of the program does not count.

mod allocations;
mod record;
#[allow(dead_code, reason = "the benches use the rest")]
#[path = "../rig/mod.rs"]
mod rig;
mod scenarios;

use std::process::{Command, ExitCode};

use record::{Figures, ROOM};
use scenarios::{SCENARIOS, Scenario};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => compare(),
        ["--record"] => measure()
            .and_then(|figures| record::write(&figures))
            .map(|()| true),
        ["run", name, count] => run(name, count).map(|()| true),
        _ => Err("usage: guard [--record]".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("guard: {error}");
            ExitCode::from(2)
        }
    }
}

/// One scenario, for callgrind.
fn run(name: &str, count: &str) -> Result<()> {
    let scenario = SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .ok_or("there is no such scenario")?;
    (scenario.run)(count.parse()?);
    Ok(())
}

fn measure() -> Result<Figures> {
    // Before anything whose threads may give memory back later.
    let mut figures = Figures {
        bytes: scenarios::bytes(),
        ..Figures::default()
    };
    for scenario in SCENARIOS {
        let instructions = |count| instructions(scenario, count);
        figures
            .instructions
            .insert(scenario.name.into(), scenario.each(instructions)?);
        let allocations = |count| Ok(allocations::during(|| (scenario.run)(count)));
        figures
            .allocations
            .insert(scenario.name.into(), scenario.each(allocations)?);
    }
    Ok(figures)
}

/// Instructions of the whole program under callgrind.
fn instructions(scenario: &Scenario, count: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", scenario.name, &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}; install it"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| {
        line.split_once("Collected : ")
            .map(|(_, number)| number.trim())
    });
    match collected.map(str::parse) {
        Some(Ok(number)) if output.status.success() => Ok(number),
        _ => Err(format!("callgrind of {}: {text}", scenario.name).into()),
    }
}

fn compare() -> Result<bool> {
    let (recorded, found) = (record::read()?, measure()?);
    let mut is_good = true;
    println!(
        "{:<14} {:<12} {:>12} {:>12} {:>8}",
        "what", "of", "recorded", "found", ""
    );
    for (what, name, recorded, found) in record::pairs(&recorded, &found)? {
        let ratio = found / recorded;
        let verdict = match ratio {
            worse if worse > 1.0 + ROOM => {
                is_good = false;
                "WORSE"
            }
            better if better < 1.0 - ROOM => "better: record it",
            _ => "",
        };
        println!(
            "{what:<14} {name:<12} {recorded:>12.1} {found:>12.1} {:>+7.1}% {verdict}",
            (ratio - 1.0) * 100.0
        );
    }
    Ok(is_good)
}
