//! Writes man pages and shell completions: `cargo run --example manual -- FOLDER`.
//!
//! An example, so that the program itself does not carry the generators. The pages come from the same arguments that
//! the program parses.

use std::io;
use std::path::{Path, PathBuf};

use balance_coordinator::cli::Arguments;
use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

const NAME: &str = "balance-coordinator";

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: manual FOLDER"))?;
    let pages = folder.join("man");
    std::fs::create_dir_all(&pages)?;
    // The library's own version says that it was built for tests.
    let mut command = Arguments::command()
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, NAME, &folder)?;
    }
    command.build();
    page(command.clone(), NAME, &pages)?;
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        page(sub.clone(), &format!("{NAME}-{}", sub.get_name()), &pages)?;
    }
    Ok(())
}

/// One page: `NAME.1`.
fn page(command: Command, name: &str, folder: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    Man::new(command.display_name(name.to_owned())).render(&mut text)?;
    std::fs::write(folder.join(format!("{name}.1")), text)
}
