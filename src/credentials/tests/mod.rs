//! Random and damaged credentials, compared with readers that are written in another way.

mod signatures;
mod tokens;
