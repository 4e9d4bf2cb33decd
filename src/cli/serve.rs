//! `serve`: runs the service until it is told to stop.
//!
//! Owns the banner of development mode, the only place where secrets are printed: to standard output, never to the
//! log. Refuses to serve with a build for tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::app;
use crate::cli::reloading::Reloading;
use crate::cli::{CliError, ConfigOption, print_line};
use crate::config::dev::{DEV_FILE, ensure_dev_file};
use crate::config::{Auth, ConfigError, Settings, Sources, environment};
use crate::credentials::access::CurrentAccess;
use crate::domain::Currencies;
use crate::platform::{Hangups, StopSignals};

/// Set to 1 by tests alone. All of them run a program with the feature `simulation`.
#[cfg(feature = "simulation")]
const SIMULATION_MAY_SERVE: &str = "SIMULATION_BUILD_MAY_SERVE";

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Development: secrets made once and kept in ./balance.dev.toml, the demo page on, loopback only
    #[arg(long)]
    dev: bool,
    /// With --dev: the port of the public listener; the internal one has the next
    #[arg(long, requires = "dev", value_parser = clap::value_parser!(u16).range(..65535))]
    port: Option<u16>,
    #[command(flatten)]
    config: ConfigOption,
}

impl Serve {
    pub(super) fn run(self, signals: StopSignals) -> Result<(), CliError> {
        refuse_simulation()?;
        let hangups = Hangups::listen()?;
        let dev_file = if self.dev {
            Some(ensure_dev_file(Path::new("."))?)
        } else {
            None
        };
        let mut environment = environment()?;
        for (name, addr) in addresses(self.port) {
            environment.insert(name.to_owned(), addr.to_string());
        }
        let sources = Sources {
            dev_file,
            file: self.config.file,
            environment,
        };
        let (mut settings, reloading) = Reloading::begin(sources, may_serve)?;
        log::info!(
            "effective configuration:\n{}",
            settings.to_masked_toml().trim_end()
        );
        for warning in settings.warnings() {
            log::warn!("configuration: {warning}");
        }
        let access = CurrentAccess::take(&mut settings);
        reloading.at(hangups, access.clone());
        let dev = self.dev;
        let (currencies, current) = (settings.currencies.clone(), access.clone());
        let on_ready = move |public_addr, internal_addr| {
            let auth = &current.now().auth;
            let banner = || dev_banner(auth, &currencies, public_addr, internal_addr);
            if dev && let Err(error) = print_line(&banner()) {
                log::warn!("the banner could not be printed: {error}");
            }
        };
        app::run(settings, access, dev, signals, on_ready)?;
        Ok(())
    }
}

/// Whether the service can run with these settings.
fn may_serve(settings: &Settings) -> Result<(), ConfigError> {
    settings.require_serve_secrets()?;
    settings.cluster.require_files()
}

/// `cargo test --release` and `cargo bench` leave a program with the feature `simulation` where a release is expected.
fn refuse_simulation() -> Result<(), CliError> {
    #[cfg(feature = "simulation")]
    if std::env::var_os(SIMULATION_MAY_SERVE).is_none_or(|value| value != "1") {
        return Err(CliError::SimulationBuild);
    }
    Ok(())
}

/// The settings of the listeners for a port of the developer's choice. With 0 the system chooses both.
fn addresses(port: Option<u16>) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let next = |port: u16| if port == 0 { 0 } else { port.saturating_add(1) };
    let on = |name, port| (name, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.into_iter().flat_map(move |port| {
        [
            on("BALANCE_SERVER__PUBLIC_ADDR", port),
            on("BALANCE_SERVER__INTERNAL_ADDR", next(port)),
        ]
    })
}

/// What a developer needs to begin: the addresses, the admin token, and a deposit to paste into a shell, which reads the
/// webhook secret from the development file. `auth` must have every secret that `serve` demands.
fn dev_banner(
    auth: &Auth,
    currencies: &Currencies,
    public_addr: SocketAddr,
    internal_addr: SocketAddr,
) -> String {
    let admin = auth
        .admin_tokens
        .first()
        .map_or("", |admin| admin.token.expose());
    let program =
        quoted(&std::env::current_exe().unwrap_or_else(|_| PathBuf::from("balance-coordinator")));
    let (currency, amount) = first_deposit(currencies);
    format!(
        r#"
balance-coordinator is ready for development. Both listeners are on loopback only.

  demo page   http://{public_addr}/
  dashboard   http://{internal_addr}/admin/
  internal    http://{internal_addr}
  secrets     ./{DEV_FILE}

Administration, with the token {admin}:

  curl -sS -H 'Authorization: Bearer {admin}' http://{internal_addr}/admin/v1/registry

A session token, for the demo page or a client of yours:

  balance-coordinator token --user 184 --config {DEV_FILE}

The first deposit, {amount} {currency} for user 184; paste it in this directory as often as you like:

  SECRET=$(sed -n 's/^webhook_secrets = \["\(.*\)"\]$/\1/p' {DEV_FILE})
  TS=$(date +%s)
  ID="demo:$TS:${{RANDOM:-0}}"
  BODY='{{"event_id":"'$ID'","user_id":184,"currency":"{currency}","amount":"{amount}"}}'
  SIG=$(printf %s "$BODY" | {program} sign --secret "$SECRET" --id "$ID" --timestamp "$TS")
  curl -sS -w '\n' http://{internal_addr}/internal/v1/deposits -H 'content-type: application/json' \
    -H "webhook-id: $ID" -H "webhook-timestamp: $TS" -H "webhook-signature: $SIG" -d "$BODY"
"#
    )
}

/// 0.1 TON where TON exists; else an amount that fits the first currency.
fn first_deposit(currencies: &Currencies) -> (&str, &'static str) {
    let ton = currencies
        .iter()
        .find(|(_, currency)| currency.code == "TON");
    let chosen = ton.or_else(|| currencies.iter().next());
    chosen.map_or(("TON", "0.1"), |(_, currency)| {
        (
            currency.code.as_str(),
            if currency.decimals == 0 { "1" } else { "0.1" },
        )
    })
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(dir: &Path) -> Settings {
        let dev_file = Some(ensure_dev_file(dir).expect("made"));
        Settings::load(&Sources {
            dev_file,
            ..Sources::default()
        })
        .expect("valid")
    }

    #[test]
    fn the_banner_has_what_a_developer_needs() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = settings(dir.path());
        let banner = dev_banner(
            &settings.auth,
            &settings.currencies,
            "127.0.0.1:8080".parse().expect(""),
            "127.0.0.1:8081".parse().expect(""),
        );
        let auth = &settings.auth;
        for part in [
            "http://127.0.0.1:8080/\n",
            "http://127.0.0.1:8081/admin/\n",
            "http://127.0.0.1:8081/internal/v1/deposits",
            "http://127.0.0.1:8081/admin/v1/registry",
            "loopback only",
            auth.admin_tokens[0].token.expose(),
            r#"SECRET=$(sed -n 's/^webhook_secrets = \["\(.*\)"\]$/\1/p' balance.dev.toml)"#,
            "token --user 184 --config balance.dev.toml",
            r#""currency":"TON","amount":"0.1""#,
            "webhook-id: $ID",
            "webhook-timestamp: $TS",
            "webhook-signature: $SIG",
            "content-type: application/json",
        ] {
            assert!(banner.contains(part), "{part} in\n{banner}");
        }
        for secret in [
            auth.session_secrets[0].expose(),
            auth.webhook_secrets[0].expose(),
        ] {
            assert!(!banner.contains(secret), "{banner}");
        }
    }

    #[test]
    fn a_chosen_port_is_the_public_listeners_and_the_next_the_internal_ones() {
        let chosen = |port| {
            addresses(port)
                .map(|(_, addr)| addr.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(Some(9000)), ["127.0.0.1:9000", "127.0.0.1:9001"]);
        assert_eq!(chosen(Some(0)), ["127.0.0.1:0", "127.0.0.1:0"]);
        assert!(chosen(None).is_empty());
    }

    #[test]
    fn the_first_deposit_fits_the_currencies() {
        for (codes, expected) in [
            (&[("AAA", 2), ("TON", 9)][..], ("TON", "0.1")),
            (&[("STARS", 0)], ("STARS", "1")),
            (&[("EUR", 2)], ("EUR", "0.1")),
        ] {
            let currencies = Currencies::new(
                codes
                    .iter()
                    .map(|(code, decimals)| ((*code).to_owned(), *decimals)),
            );
            assert_eq!(first_deposit(&currencies.expect("valid")), expected);
        }
    }

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
