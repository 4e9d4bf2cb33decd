//! `diagnose`: one report on a running service, its settings and its log.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::canary::base_url;
use crate::cli::{CliError, ConfigOption, print_line};
use crate::diagnosis::{Options, diagnose};

/// How the report is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Markdown,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Diagnose {
    /// Where browsers find the service [default: http:// and server.public_addr]
    #[arg(long, value_name = "URL", value_parser = base_url)]
    url: Option<String>,
    /// Where administrators find it [default: http:// and server.internal_addr]
    #[arg(long, value_name = "URL", value_parser = base_url)]
    internal_url: Option<String>,
    /// A log to count in, of any size; - is standard input
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value = "markdown")]
    format: Format,
    /// Writes it to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigOption,
}

impl Diagnose {
    pub(super) fn run(self) -> Result<(), CliError> {
        let config_file = self.config.file.clone();
        let settings = self.config.load()?;
        let url = self
            .url
            .unwrap_or_else(|| format!("http://{}", settings.server.public_addr));
        let internal_url = self
            .internal_url
            .unwrap_or_else(|| format!("http://{}", settings.server.internal_addr));
        let options = Options {
            settings,
            config_file,
            url,
            internal_url,
            log: self.log,
        };
        let diagnosis = actix::System::new().block_on(diagnose(&options))?;
        let text = match self.format {
            Format::Markdown => diagnosis.to_markdown(),
            Format::Json => {
                serde_json::to_string_pretty(&diagnosis).map_err(std::io::Error::other)? + "\n"
            }
        };
        match self.out {
            Some(file) => std::fs::write(file, text)?,
            None => print_line(text.trim_end())?,
        }
        Ok(())
    }
}
