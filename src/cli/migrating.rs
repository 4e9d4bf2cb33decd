//! What `import` and `compare` share: which service they speak to, and how they tell what happens.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::path::Path;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::cli::canary::base_url;
use crate::cli::{CliError, ConfigOption};
use crate::migration::{Observer, Options, Refused};

/// Refused lines that standard error shows.
const REFUSED_SHOWN_MAX: u64 = 100;

/// The service.
#[derive(Debug, Args)]
pub(super) struct Service {
    /// Where back ends find the service [default: http:// and server.internal_addr]
    #[arg(long, value_name = "URL", value_parser = base_url)]
    internal_url: Option<String>,
    #[command(flatten)]
    config: ConfigOption,
}

impl Service {
    pub(super) fn options(self) -> Result<Options, CliError> {
        let settings = self.config.load()?;
        let secret = settings.require_webhook_secret()?.clone();
        Ok(Options::new(&settings, secret, self.internal_url))
    }
}

/// Results go to standard output, progress and refused lines to standard error, these to a file, too.
pub(super) struct Teller {
    bar: ProgressBar,
    out: BufWriter<Stdout>,
    rejects: Option<BufWriter<File>>,
    refused: u64,
}

impl Teller {
    pub(super) fn new(rejects: Option<&Path>) -> Result<Self, CliError> {
        let rejects = rejects.map(File::create).transpose()?;
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("{bar:40} {percent}% {elapsed}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self {
            bar,
            out: BufWriter::new(io::stdout()),
            rejects: rejects.map(BufWriter::new),
            refused: 0,
        })
    }

    /// Removes the bar, and writes what is held back.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.bar.finish_and_clear();
        self.out.flush()?;
        match &mut self.rejects {
            Some(rejects) => rejects.flush(),
            None => Ok(()),
        }
    }
}

impl Observer for Teller {
    fn begin(&mut self, steps: u64) {
        self.bar.set_length(steps);
    }

    fn advance(&mut self, steps: u64) {
        self.bar.inc(steps);
    }

    fn refused(&mut self, refused: &Refused) -> io::Result<()> {
        let Refused {
            line,
            code,
            detail,
            content,
        } = refused;
        if let Some(rejects) = &mut self.rejects {
            let row = json!({"line": line, "code": code, "detail": detail, "content": content});
            writeln!(rejects, "{row}")?;
        }
        self.refused += 1;
        let text = match self.refused {
            ..=REFUSED_SHOWN_MAX if detail.is_empty() => format!("line {line}: {code}"),
            ..=REFUSED_SHOWN_MAX => format!("line {line}: {code}: {detail}"),
            count if count == REFUSED_SHOWN_MAX + 1 => "more lines are refused".to_owned(),
            _ => return Ok(()),
        };
        self.bar.suspend(|| writeln!(io::stderr(), "{text}"))
    }

    fn found(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }
}
