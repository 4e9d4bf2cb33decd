//! SIGHUP for `serve` and `watch`: reads the configuration again, and changes who may come in.
//!
//! Runs on the thread that waits for the signal, so that a slow file delays nothing else. All or nothing: a configuration
//! that would not start the command changes nothing. The log names keys and never shows a value.

use std::sync::Arc;

use crate::cli::load;
use crate::config::{Changes, ConfigError, Settings, Sources, Values, reloaded_keys, variable};
use crate::credentials::access::{Access, CurrentAccess};
use crate::platform::Hangups;

/// What else a command demands of its settings.
type Check = fn(&Settings) -> Result<(), ConfigError>;

/// Reads the configuration of a command, at its start and again.
pub(super) struct Reloading {
    sources: Sources,
    check: Check,
    /// The values that are in effect.
    values: Values,
    /// What was said of them.
    warnings: Vec<&'static str>,
}

impl Reloading {
    /// Reads the configuration for the first time.
    pub(super) fn begin(sources: Sources, check: Check) -> Result<(Settings, Self), ConfigError> {
        let (settings, values) = load(&sources)?;
        check(&settings)?;
        let reloading = Self {
            warnings: settings.warnings(),
            sources,
            check,
            values,
        };
        Ok((settings, reloading))
    }

    /// Reads it again at each SIGHUP, and replaces `access`.
    pub(super) fn at(mut self, hangups: Hangups, access: Arc<CurrentAccess>) {
        hangups.handle(move || self.reload(&access));
    }

    fn reload(&mut self, access: &CurrentAccess) {
        let loaded = Settings::load_with_values(&self.sources);
        let checked = loaded.and_then(|loaded| (self.check)(&loaded.0).map(|()| loaded));
        let (mut settings, values) = match checked {
            Ok(loaded) => loaded,
            Err(error) => {
                return log::error!(
                    "SIGHUP: this configuration can't be used, and nothing has changed: {error}"
                );
            }
        };
        let Changes {
            reloaded,
            for_restart,
        } = self.values.changes(&values);
        if !for_restart.is_empty() {
            let keys = for_restart.join(", ");
            log::warn!("SIGHUP: these keys differ, and change only at the next start: {keys}");
        }
        let fixed = self.of_environment();
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            log::info!("SIGHUP: set by environment variables, which no file changes: {keys}");
        }
        if reloaded.is_empty() {
            log::info!("SIGHUP: the configuration was read again; nothing has changed");
        } else {
            self.warn_of(&settings);
            access.replace(Access::take(&mut settings));
            self.values.reload(&values);
            let keys = reloaded.join(", ");
            log::info!("SIGHUP: the configuration was read again; changed: {keys}");
        }
    }

    /// Logs what is valid and probably a mistake, unless it was said before.
    fn warn_of(&mut self, settings: &Settings) {
        let warnings = settings.warnings();
        for warning in warnings.iter().filter(|one| !self.warnings.contains(one)) {
            log::warn!("configuration: {warning}");
        }
        self.warnings = warnings;
    }

    /// The keys that would change but for the environment, which stays as it was at the start.
    fn of_environment(&self) -> Vec<&'static str> {
        let environment = &self.sources.environment;
        let is_set = |key: &&str| environment.contains_key(&variable(key));
        reloaded_keys().filter(is_set).collect()
    }
}
