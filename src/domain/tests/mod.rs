//! The parsers of the domain over random and spoiled texts, each beside a second one that was written another way.

mod addresses;
mod amounts;
mod base64;
mod hashes;
