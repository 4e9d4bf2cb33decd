//! Finds the user of a session token or of Telegram's init data.
//!
//! All endpoints of the public listener sign in here. The configuration says what a Telegram id means; links are read from
//! the ledger each time and never cached. While the ledger does not answer, credentials are not called wrong. Start reading at
//! [`SignIn::check`].

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use crate::clock::Clock;
use crate::config::TelegramIdentity;
use crate::credentials::access::CurrentAccess;
use crate::credentials::session_token::{Session, TokenError};
use crate::credentials::telegram::InitDataError;
use crate::domain::{TelegramId, UserId};
use crate::http::problem::{Code, Problem};
use crate::ledger::{Ledger, LedgerError, Pending};
use crate::telemetry::seldom::Seldom;

/// The credentials that a client sends.
pub(in crate::http) enum Credentials<'a> {
    /// A session token.
    Token(Cow<'a, str>),
    /// Telegram's init data.
    InitData(Cow<'a, str>),
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::InitData(_) => "InitData",
        })
    }
}

impl Credentials<'_> {
    pub(in crate::http) fn into_owned(self) -> Credentials<'static> {
        match self {
            Self::Token(token) => Credentials::Token(token.into_owned().into()),
            Self::InitData(init_data) => Credentials::InitData(init_data.into_owned().into()),
        }
    }
}

/// Why a sign-in fails.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::http) enum SignInError {
    #[error("the credentials are not valid")]
    Invalid,
    #[error("the credentials have expired")]
    Expired,
    #[error("no user is linked to this Telegram account")]
    Unknown,
    /// Unknown: the credentials may be valid, and the client may try again.
    #[error(transparent)]
    Ledger(LedgerError),
}

impl From<TokenError> for SignInError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::Expired,
            _ => Self::Invalid,
        }
    }
}

impl From<InitDataError> for SignInError {
    fn from(error: InitDataError) -> Self {
        match error {
            InitDataError::TooOld => Self::Expired,
            _ => Self::Invalid,
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Ledger(error) => error.into(),
            refused => Self::new(Code::Unauthorized, refused.to_string()),
        }
    }
}

/// A session, or why there is none.
pub(in crate::http) type SignedIn = Result<Session, SignInError>;

/// The result of checking credentials.
pub(in crate::http) enum Checked {
    /// Known at once.
    Now(SignedIn),
    /// The ledger is asked for the user; within `database.timeout_ms`.
    Later(Pin<Box<dyn Future<Output = SignedIn> + Send>>),
}

impl Checked {
    /// Waits for the ledger, if it was asked.
    pub(super) async fn settled(self) -> SignedIn {
        match self {
            Self::Now(result) => result,
            Self::Later(answer) => answer.await,
        }
    }
}

/// Checks the credentials of clients.
pub struct SignIn {
    access: Arc<CurrentAccess>,
    auto_create: bool,
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    refusals: Seldom,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").finish_non_exhaustive()
    }
}

impl SignIn {
    pub(in crate::http) fn new(
        access: Arc<CurrentAccess>,
        auto_create: bool,
        ledger: Arc<dyn Ledger>,
        clock: Clock,
    ) -> Self {
        Self {
            access,
            auto_create,
            ledger,
            clock,
            refusals: Seldom::default(),
        }
    }

    /// Whether sign-in by Telegram is configured.
    pub(in crate::http) fn knows_telegram(&self) -> bool {
        self.access.now().telegram.is_some()
    }

    /// Finds the session that these credentials give.
    pub(in crate::http) fn check(&self, credentials: &Credentials<'_>) -> Checked {
        let now_s = self.clock.now_s();
        let access = self.access.now();
        let (init_data, telegram, identity) = match (credentials, &access.telegram) {
            (Credentials::Token(token), _) => {
                let session = access.keys.verify(token, now_s);
                let logged = session.inspect_err(|error| self.log("a session token", error.text()));
                return Checked::Now(logged.map_err(Into::into));
            }
            (Credentials::InitData(_), None) => {
                self.log("init data", "sign-in by Telegram is not configured");
                return Checked::Now(Err(SignInError::Invalid));
            }
            (Credentials::InitData(init_data), Some((telegram, identity))) => {
                (init_data, telegram, *identity)
            }
        };
        let expires_at_s = now_s.saturating_add_unsigned(access.auth.session_ttl_s);
        let session = move |user_id| Session {
            user_id,
            expires_at_s,
        };
        match telegram.verify(init_data, now_s) {
            Err(error) => {
                self.log("init data", error.text());
                Checked::Now(Err(error.into()))
            }
            Ok(telegram_id) => match self.user_of(telegram_id, identity) {
                Found::Known(user_id) => Checked::Now(Ok(session(user_id))),
                Found::Asked(answer) => Checked::Later(Box::pin(async move {
                    answer
                        .await
                        .map_err(SignInError::Ledger)?
                        .map(session)
                        .ok_or(SignInError::Unknown)
                })),
            },
        }
    }

    /// Logs a refusal, each cause once a minute: clients learn only whether their credentials have expired.
    fn log(&self, what: &str, cause: &'static str) {
        if self.refusals.is_due(cause, self.clock.mono()) {
            log::info!(
                "{what} is refused: {cause}; further refusals for this cause are not logged for a minute"
            );
        }
    }

    fn user_of(&self, telegram_id: TelegramId, identity: TelegramIdentity) -> Found {
        match identity {
            TelegramIdentity::Linked => Found::Asked(self.ledger.user_of_telegram(telegram_id)),
            TelegramIdentity::UserId => {
                let user_id = UserId::new(telegram_id.get()).expect("both ids have the same range");
                if self.auto_create {
                    return Found::Known(user_id);
                }
                let account = self.ledger.account(user_id);
                Found::Asked(Box::pin(async move {
                    Ok(account.await?.exists.then_some(user_id))
                }))
            }
        }
    }
}

/// The user of a Telegram id.
enum Found {
    Known(UserId),
    Asked(Pending<Option<UserId>>),
}

/// The scheme and the rest of the `Authorization` header. With two such headers neither counts, since a proxy may have
/// checked the other one.
fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut all = headers.get_all(AUTHORIZATION);
    let (Some(only), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, rest) = only.to_str().ok()?.split_once(' ')?;
    Some((scheme, rest.trim_start_matches(' ')))
}

/// The token of `Authorization: Bearer`.
pub(in crate::http) fn bearer(headers: &HeaderMap) -> Option<&str> {
    authorization(headers)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token)
}

/// What `Authorization: Bearer` or `Authorization: tma` carries.
pub(in crate::http) fn of_headers(headers: &HeaderMap) -> Option<Credentials<'_>> {
    match authorization(headers)? {
        (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => {
            Some(Credentials::Token(token.into()))
        }
        (scheme, init_data) if scheme.eq_ignore_ascii_case("tma") => {
            Some(Credentials::InitData(init_data.into()))
        }
        _ => None,
    }
}
