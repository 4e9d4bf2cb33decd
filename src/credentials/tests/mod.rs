//! Credentials, random and spoiled, beside readers that were written another way.

mod signatures;
mod tokens;
