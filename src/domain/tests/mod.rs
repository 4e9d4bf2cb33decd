//! The parsers of the domain over random and corrupted texts, each compared with a second, independent parser.

mod addresses;
mod amounts;
mod base64;
mod hashes;
