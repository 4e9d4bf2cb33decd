//! `token`: prints a session token, or says what is wrong with one.

use std::io::{self, Read as _};

use clap::Args;

use crate::cli::{CliError, ConfigOption, print_line};
use crate::clock::{Clock, rfc3339};
use crate::config::SESSION_TTL_S_MAX;
use crate::credentials::session_token::SessionKeys;
use crate::domain::UserId;

/// The most bytes of a token that are read.
const TOKEN_BYTES_MAX: u64 = 65_536;

#[derive(Args)]
pub(super) struct Token {
    /// The user that the token is for
    #[arg(long, value_name = "ID", value_parser = UserId::parse, required_unless_present = "check")]
    user: Option<UserId>,
    /// How long it is valid, in seconds [default: auth.session_ttl_s]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SESSION_TTL_S_MAX))]
    ttl_s: Option<u64>,
    /// Say whether the service would take this token, and why not; - reads it from standard input
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["user", "ttl_s"])]
    check: Option<String>,
    #[command(flatten)]
    config: ConfigOption,
}

impl std::fmt::Debug for Token {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("user", &self.user)
            .field("ttl_s", &self.ttl_s)
            .finish_non_exhaustive()
    }
}

impl Token {
    pub(super) fn run(self) -> Result<(), CliError> {
        let settings = self.config.load()?;
        settings.require_session_secret()?;
        let auth = &settings.auth;
        let keys = SessionKeys::new(&auth.session_secrets, &auth.session_user_claim);
        let now_s = Clock::system().now_s();
        let line = if let Some(user) = self.user {
            let ttl_s = self.ttl_s.unwrap_or(auth.session_ttl_s);
            keys.issue(user, ttl_s, now_s).token
        } else {
            let token = match self.check.as_deref() {
                None | Some("-") => read_token()?,
                Some(token) => token.to_owned(),
            };
            let claim = auth.session_user_claim.as_str();
            let refused = |error| CliError::Token {
                error,
                claim: claim.to_owned(),
            };
            let session = keys.verify(&token, now_s).map_err(refused)?;
            let until = rfc3339(session.expires_at_s.saturating_mul(1_000_000));
            let user_id = session.user_id;
            format!("the token is good for user {user_id} (claim {claim:?}) until {until}")
        };
        Ok(print_line(&line)?)
    }
}

/// Standard input, without the newline at its end.
fn read_token() -> Result<String, CliError> {
    let mut token = String::new();
    io::stdin()
        .lock()
        .take(TOKEN_BYTES_MAX)
        .read_to_string(&mut token)?;
    Ok(token.trim_end_matches(['\r', '\n']).to_owned())
}
