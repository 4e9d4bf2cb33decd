//! Who may come in, as the configuration says it at this moment: what SIGHUP changes while the service runs.
//!
//! One value holds all of it and is replaced as a whole. Each request takes the value that is current; open sessions are
//! not asked again.

use std::mem;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::{Auth, Network, Settings, TelegramIdentity, WebhookSecret};
use crate::credentials::session_token::SessionKeys;
use crate::credentials::telegram::Telegram;

/// Secrets, tokens, origins and proxies.
#[derive(Debug)]
pub struct Access {
    /// Secrets, tokens and their lifetimes.
    pub auth: Auth,
    /// `server.allowed_origins`
    pub allowed_origins: Vec<String>,
    /// `server.trusted_proxies`
    pub trusted_proxies: Vec<Network>,
    /// Signs and verifies session tokens.
    pub keys: SessionKeys,
    /// Sign-in by Telegram, when it is on, and what a Telegram id means.
    pub(crate) telegram: Option<(Telegram, TelegramIdentity)>,
}

impl Access {
    /// Moves it out of checked settings, so that no second copy remains that SIGHUP would not change.
    pub fn take(settings: &mut Settings) -> Self {
        let auth = mem::take(&mut settings.auth);
        Self {
            allowed_origins: mem::take(&mut settings.server.allowed_origins),
            trusted_proxies: mem::take(&mut settings.server.trusted_proxies),
            keys: SessionKeys::new(&auth.session_secrets, &auth.session_user_claim),
            // Settings without an identity are refused; without that check, sign-in by Telegram would be off.
            telegram: Telegram::configured(&auth).zip(auth.telegram_identity),
            auth,
        }
    }

    /// The secret that signs what this program sends itself.
    pub fn webhook_secret(&self) -> Option<&WebhookSecret> {
        self.auth.webhook_secrets.first()
    }
}

/// The access that is current.
#[derive(Debug)]
pub struct CurrentAccess(RwLock<Arc<Access>>);

impl CurrentAccess {
    /// Begins with that of these settings, which lose it.
    pub fn take(settings: &mut Settings) -> Arc<Self> {
        let access = Access::take(settings);
        Arc::new(Self(RwLock::new(Arc::new(access))))
    }

    /// What is current now.
    pub fn now(&self) -> Arc<Access> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces it: from now on this one is current.
    pub fn replace(&self, access: Access) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }
}
