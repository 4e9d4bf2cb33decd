//! `watch`: the TON watcher, and what a person does with deposits that it could not match.

use std::io::{self, IsTerminal as _};

use clap::{Args, Subcommand};

use crate::cli::reloading::Reloading;
use crate::cli::{CliError, ConfigOption, ended_by, print_line};
use crate::config::{ConfigError, Settings};
use crate::credentials::access::CurrentAccess;
use crate::domain::{TxHash, UserId};
use crate::platform::{Hangups, StopSignals};
use crate::watcher::{Listed, Options, assign, unmatched, watch};

/// The longest part of a comment that the table shows, in characters.
const COMMENT_CHARS_MAX: usize = 60;

/// Of a timestamp, up to the seconds.
const SECONDS_CHARS: usize = 19;

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
            let hangups = Hangups::listen()?;
            let sources = self.config.sources()?;
            let (mut settings, reloading) = Reloading::begin(sources, may_watch)?;
            let access = CurrentAccess::take(&mut settings);
            reloading.at(hangups, access.clone());
            let options = Options::new(&settings, access);
            return follow(&options, self.once, signals);
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
    let mut settings = config.load()?;
    may_watch(&settings)?;
    let access = CurrentAccess::take(&mut settings);
    Ok(Options::new(&settings, access))
}

/// Whether the watcher can run with these settings.
fn may_watch(settings: &Settings) -> Result<(), ConfigError> {
    settings.require_watcher().map(drop)
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
    if io::stdout().is_terminal() {
        return Ok(print_line(table(waiting).trim_end())?);
    }
    for one in waiting {
        let line = serde_json::to_string(one).map_err(io::Error::other)?;
        print_line(&line)?;
    }
    Ok(())
}

/// For eyes: a line with what happened, and below it what a person needs to act. A hash stands alone on its line, whole.
fn table(waiting: &[Listed]) -> String {
    if waiting.is_empty() {
        return "No deposit waits for a person.".into();
    }
    let amount = |one: &Listed| format!("{} {}", one.amount, one.currency);
    let width = |of: fn(&Listed) -> usize| waiting.iter().map(of).max().unwrap_or(0);
    let amounts = width(|one| one.amount.len() + 1 + one.currency.len());
    let reasons = width(|one| one.reason.len());
    let rows = waiting.iter().map(|one| {
        let at = one.occurred_at.get(..SECONDS_CHARS).unwrap_or_default();
        let at = at.replace('T', " ");
        let comment = one.comment.as_deref().map(shown).unwrap_or_default();
        let first = format!(
            "{at}  {:>amounts$}  {:<reasons$}  {comment}",
            amount(one),
            one.reason
        );
        let sender = one.account.as_deref().unwrap_or("unknown");
        format!(
            "{}\n  hash  {}\n  from  {sender}\n",
            first.trim_end(),
            one.tx_hash
        )
    });
    let rows: String = rows.collect();
    let waits = match waiting.len() {
        1 => "1 deposit waits for a person".to_owned(),
        count => format!("{count} deposits wait for a person"),
    };
    format!(
        "{rows}\n{waits} (times in UTC). To credit one:\n  balance-coordinator watch assign --tx HASH --user ID\n"
    )
}

/// A foreign text on one line, without what a terminal obeys or does not show, and not longer than a line.
fn shown(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let is_long = text.chars().nth(COMMENT_CHARS_MAX).is_some();
    let room = COMMENT_CHARS_MAX - usize::from(is_long);
    let shown = text.chars().take(room);
    let shown: String = shown
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect();
    if is_long { shown + "…" } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(amount: &str, reason: &str, comment: Option<&str>) -> Listed {
        Listed {
            tx_hash: "ab".repeat(32),
            lt: "7".into(),
            watched: "0:01".into(),
            amount: amount.into(),
            currency: "TON".into(),
            account: Some("0:77".into()),
            comment: comment.map(str::to_owned),
            reason: reason.into(),
            occurred_at: "2025-11-28T03:20:01.000000Z".into(),
            seen_at: "2025-11-28T03:20:03.000000Z".into(),
        }
    }

    #[test]
    fn the_table_is_aligned_and_harmless() {
        assert_eq!(table(&[]), "No deposit waits for a person.");
        let hash = "ab".repeat(32);
        let table = table(&[
            listed("1.500000000", "no_comment", None),
            listed("20.000000000", "too_small", Some("a\x1b[31m\u{202e}b\nc")),
        ]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[0],
            "2025-11-28 03:20:01   1.500000000 TON  no_comment"
        );
        assert_eq!(lines[1], format!("  hash  {hash}"));
        assert_eq!(lines[2], "  from  0:77");
        assert_eq!(
            lines[3],
            "2025-11-28 03:20:01  20.000000000 TON  too_small   a\u{fffd}[31m\u{fffd}b\u{fffd}c"
        );
        assert!(table.contains("2 deposits wait for a person"), "{table}");
        let long = shown(&"й".repeat(1_000));
        assert_eq!(long.chars().count(), COMMENT_CHARS_MAX);
        assert!(long.ends_with('…'));
    }
}
