//! One file per gate: how it is measured and compared. Rounds of the service and of its baseline
//! alternate, so that drift of the machine affects both.

mod actors;
mod batch;
mod follow;
mod frames;
mod history;
mod hot;
mod idle;
mod nodes;
mod paced;
mod peers;
mod reconnect;
mod singles;
mod start;
mod tick;
mod users;

use std::process::Command as Program;
use std::time::Instant;

use serde_json::json;

use crate::Result;
use crate::bench::Bench;
use crate::client::clock::now_us;
use crate::options::{Command, Common};
use crate::report::plots;
use crate::system::{database, proc};

type Gate = fn(&mut Bench) -> Result<()>;

const ALL: &[(Command, Gate)] = &[
    (Command::Batch, batch::run),
    (Command::Singles, singles::run),
    (Command::Frames, frames::run),
    (Command::Tick, tick::run),
    (Command::Hot, hot::run),
    (Command::Idle, idle::run),
    (Command::Actors, actors::run),
    (Command::Reconnect, reconnect::run),
    (Command::Users, users::run),
    (Command::Start, start::run),
    (Command::Paced, paced::run),
    (Command::History, history::run),
    (Command::Follow, follow::run),
    (Command::Nodes, nodes::run),
    (Command::Peers, peers::run),
];

/// Runs the selected gates and prints the report. Returns whether everything holds; in a quick run
/// only the checks count.
pub fn run(command: &Command, options: Common) -> Result<bool> {
    let mut bench = Bench::new(options)?;
    facts(&mut bench)?;
    for (of, gate) in ALL {
        let left_out = match of {
            Command::Nodes if bench.options.nats.is_none() => "it needs --postgres and --nats",
            Command::Peers => "it needs other servers; run it by its name",
            _ => "",
        };
        if *command == Command::All && !left_out.is_empty() {
            eprintln!("{of:?}: left out, since {left_out}");
        } else if command == of || *command == Command::All {
            run_one(&mut bench, of, *gate)?;
        }
    }
    println!("{}", bench.report.table());
    if let Some(folder) = &bench.options.report {
        plots::draw(&bench.report, folder)?;
    }
    Ok(bench.report.is_good(!bench.options.quick))
}

/// Runs one gate. Results are recorded before the next one begins; a gate that fails to run does
/// not stop the others.
fn run_one(bench: &mut Bench, of: &Command, gate: Gate) -> Result<()> {
    let (start, before, stolen_before_s) = (
        Instant::now(),
        bench.report.figures.len(),
        proc::stolen_s()?,
    );
    if let Err(error) = gate(bench) {
        bench
            .report
            .check(|| format!("{of:?} could be measured, but: {error}"), false);
    }
    let stolen_s = proc::stolen_s()? - stolen_before_s;
    bench
        .report
        .facts
        .push((format!("stolen_s of {of:?}"), json!(stolen_s)));
    eprintln!(
        "{of:?}: measured in {:.0} s; the host kept {stolen_s:.1} s of its processors for others",
        start.elapsed().as_secs_f64()
    );
    for figure in &bench.report.figures[before..] {
        eprintln!("  {figure}");
    }
    bench
        .options
        .out
        .as_ref()
        .map_or(Ok(()), |file| bench.report.write(file))
}

fn facts(bench: &mut Bench) -> Result<()> {
    let commit = Program::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    let commit = commit.map_or_else(
        |_| "unknown".into(),
        |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
    );
    let mut facts = vec![
        (
            "date".to_owned(),
            json!(balance_coordinator::clock::rfc3339(now_us())),
        ),
        ("commit".to_owned(), json!(commit)),
        ("machine".to_owned(), json!(proc::machine())),
        ("quick".to_owned(), json!(bench.options.quick)),
    ];
    if let Some(server) = &bench.options.postgres {
        facts.push((
            "postgres".to_owned(),
            json!(database::postgres_durability(server)?),
        ));
    }
    bench.report.facts = facts;
    Ok(())
}
