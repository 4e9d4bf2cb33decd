//! Checks of credentials: webhook signatures, session tokens, Telegram's init data. Uses neither HTTP nor SQL.

pub mod access;
mod claims;
pub mod session_token;
pub(crate) mod telegram;
mod token_error;
pub mod webhook;

#[cfg(test)]
mod tests;
