//! `token`: prints a session token, for tests and support.

use clap::Args;

use crate::cli::{CliError, ConfigOption, print_line};
use crate::clock::Clock;
use crate::config::SESSION_TTL_S_MAX;
use crate::credentials::session_token::SessionKeys;
use crate::domain::UserId;

#[derive(Debug, Args)]
pub(super) struct Token {
    /// The user that the token is for
    #[arg(long, value_name = "ID", value_parser = UserId::parse)]
    user: UserId,
    /// How long it is valid, in seconds [default: auth.session_ttl_s]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SESSION_TTL_S_MAX))]
    ttl_s: Option<u64>,
    #[command(flatten)]
    config: ConfigOption,
}

impl Token {
    pub(super) fn run(self) -> Result<(), CliError> {
        let settings = self.config.load()?;
        settings.require_session_secret()?;
        let keys = SessionKeys::new(&settings.auth.session_secrets);
        let ttl_s = self.ttl_s.unwrap_or(settings.auth.session_ttl_s);
        let now_s = Clock::system().now_s();
        print_line(&keys.issue(self.user, ttl_s, now_s).token)?;
        Ok(())
    }
}
