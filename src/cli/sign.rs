//! `sign`: the signature of a webhook, for shell scripts.
//!
//! Reads no configuration. The secret is checked here and not by the argument parser, because its messages repeat
//! the refused text.

use std::io::{self, Read as _};

use clap::Args;

use crate::cli::{CliError, print_line};
use crate::config::{SIGNED_BODY_BYTES_MAX, WebhookSecret};
use crate::credentials::webhook;

/// The most characters of a webhook id.
const ID_CHARS_MAX: usize = 256;

#[derive(Args)]
pub(super) struct Sign {
    /// The webhook secret, whsec_…
    #[arg(long, value_name = "S")]
    secret: String,
    /// The value of the webhook-id header
    #[arg(long, value_name = "I")]
    id: String,
    /// The value of the webhook-timestamp header, in Unix seconds
    #[arg(long, value_name = "T")]
    timestamp: String,
}

impl std::fmt::Debug for Sign {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sign")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

impl Sign {
    pub(super) fn run(self) -> Result<(), CliError> {
        let usage = |text: &str| CliError::Usage(text.to_owned());
        let secret = WebhookSecret::parse(&self.secret)
            .map_err(|error| CliError::Usage(format!("--secret: {error}")))?;
        if self.id.is_empty()
            || self.id.len() > ID_CHARS_MAX
            || !self.id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(usage(
                "--id: must be 1 to 256 printable ASCII characters without spaces",
            ));
        }
        let digits_only = self.timestamp.bytes().all(|b| b.is_ascii_digit());
        if !digits_only || self.timestamp.parse::<i64>().is_err() {
            return Err(usage("--timestamp: must be Unix seconds"));
        }
        let body = read_body()?;
        print_line(&webhook::sign(
            secret.as_bytes(),
            &self.id,
            &self.timestamp,
            &body,
        ))?;
        Ok(())
    }
}

/// Standard input to its end, no larger than the largest body that a service accepts.
fn read_body() -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    io::stdin()
        .lock()
        .take(SIGNED_BODY_BYTES_MAX as u64 + 1)
        .read_to_end(&mut body)?;
    if body.len() > SIGNED_BODY_BYTES_MAX {
        return Err(CliError::Usage(format!(
            "the body is larger than {SIGNED_BODY_BYTES_MAX} bytes"
        )));
    }
    Ok(body)
}
