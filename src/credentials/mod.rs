//! Checks of credentials: webhook signatures, session tokens, Telegram's init data. Uses neither HTTP nor SQL.

pub mod session_token;
pub(crate) mod telegram;
pub mod webhook;

#[cfg(test)]
mod tests;
