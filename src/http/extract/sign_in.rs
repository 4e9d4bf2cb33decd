//! Who a client is: by a session token, or by Telegram's init data.
//!
//! Owns the way from credentials to a user, the same for every door of the public listener. It never guesses: what a
//! Telegram id means is configured, and who is linked is read from the ledger each time, never kept. While the ledger
//! does not answer, nobody is said to be wrong. Start reading at [`SignIn::check`].

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use crate::clock::Clock;
use crate::config::{Settings, TelegramIdentity};
use crate::credentials::session_token::{Session, SessionKeys, TokenError};
use crate::credentials::telegram::{InitDataError, Telegram};
use crate::domain::{TelegramId, UserId};
use crate::http::problem::{Code, Problem};
use crate::ledger::{Ledger, LedgerError, Pending};

/// What a client shows to prove who it is.
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

/// Why nobody is signed in.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::http) enum SignInError {
    #[error("the credentials are not valid")]
    Invalid,
    #[error("the credentials have expired")]
    Expired,
    #[error("nobody here has this Telegram account")]
    Unknown,
    /// Nobody knows: the client may well be right, and may try again.
    #[error(transparent)]
    Ledger(LedgerError),
}

impl From<TokenError> for SignInError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::Invalid,
            TokenError::Expired => Self::Expired,
        }
    }
}

impl From<InitDataError> for SignInError {
    fn from(error: InitDataError) -> Self {
        match error {
            InitDataError::Invalid => Self::Invalid,
            InitDataError::TooOld => Self::Expired,
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

/// What comes of credentials.
pub(in crate::http) enum Checked {
    /// It is known already.
    Now(SignedIn),
    /// The ledger has to say who it is; within `database.timeout_ms`.
    Later(Pin<Box<dyn Future<Output = SignedIn> + Send>>),
}

impl Checked {
    /// Waits for the ledger, if need be.
    pub(in crate::http) async fn settled(self) -> SignedIn {
        match self {
            Self::Now(result) => result,
            Self::Later(answer) => answer.await,
        }
    }
}

/// Finds out who clients are.
pub struct SignIn {
    keys: SessionKeys,
    telegram: Option<(Telegram, TelegramIdentity)>,
    session_ttl_s: u64,
    auto_create: bool,
    ledger: Arc<dyn Ledger>,
    clock: Clock,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("telegram", &self.telegram)
            .finish_non_exhaustive()
    }
}

impl SignIn {
    pub(in crate::http) fn new(
        settings: &Settings,
        keys: SessionKeys,
        ledger: Arc<dyn Ledger>,
        clock: Clock,
    ) -> Self {
        let auth = &settings.auth;
        Self {
            keys,
            // A start without an identity is refused; should one come so far, the door stays shut.
            telegram: Telegram::configured(auth).zip(auth.telegram_identity),
            session_ttl_s: auth.session_ttl_s,
            auto_create: settings.accounts.auto_create,
            ledger,
            clock,
        }
    }

    /// Whether Telegram's init data is taken at all.
    pub(in crate::http) const fn knows_telegram(&self) -> bool {
        self.telegram.is_some()
    }

    /// Who shows these credentials.
    pub(in crate::http) fn check(&self, credentials: &Credentials<'_>) -> Checked {
        let now_s = self.clock.now_s();
        let (init_data, telegram, identity) = match (credentials, &self.telegram) {
            (Credentials::Token(token), _) => {
                return Checked::Now(self.keys.verify(token, now_s).map_err(Into::into));
            }
            (Credentials::InitData(_), None) => return Checked::Now(Err(SignInError::Invalid)),
            (Credentials::InitData(init_data), Some((telegram, identity))) => {
                (init_data, telegram, *identity)
            }
        };
        let expires_at_s = now_s.saturating_add_unsigned(self.session_ttl_s);
        let session = move |user_id| Session {
            user_id,
            expires_at_s,
        };
        match telegram.verify(init_data, now_s) {
            Err(error) => Checked::Now(Err(error.into())),
            Ok(telegram_id) => match self.user_of(telegram_id, identity) {
                Whose::Known(user_id) => Checked::Now(Ok(session(user_id))),
                Whose::Asked(answer) => Checked::Later(Box::pin(async move {
                    answer
                        .await
                        .map_err(SignInError::Ledger)?
                        .map(session)
                        .ok_or(SignInError::Unknown)
                })),
            },
        }
    }

    fn user_of(&self, telegram_id: TelegramId, identity: TelegramIdentity) -> Whose {
        match identity {
            TelegramIdentity::Linked => Whose::Asked(self.ledger.user_of_telegram(telegram_id)),
            TelegramIdentity::UserId => {
                let user_id = UserId::new(telegram_id.get()).expect("both ids have the same range");
                if self.auto_create {
                    return Whose::Known(user_id);
                }
                let account = self.ledger.account(user_id);
                Whose::Asked(Box::pin(async move {
                    Ok(account.await?.exists.then_some(user_id))
                }))
            }
        }
    }
}

/// The user that a Telegram id means here.
enum Whose {
    Known(UserId),
    Asked(Pending<Option<UserId>>),
}

/// The scheme and the rest of the one `Authorization` header. Of two headers a proxy may have looked at the other, so
/// neither counts.
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
