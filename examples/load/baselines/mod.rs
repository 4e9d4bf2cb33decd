//! The baselines, measured in the same run on the same machine.
//!
//! | baseline | what it is |
//! | --- | --- |
//! | raw | the same rows through bare prepared statements (SQLite) or UNNEST (PostgreSQL), same batch sizes and durability |
//! | echo | a bare `actix-web-actors` session that answers each message with a frame of a push's size |
//! | one-by-one | the usual design: one transaction for each change, then a push |

pub mod echo;
pub mod one_by_one;
pub mod raw_postgres;
pub mod raw_sqlite;
pub mod rows;
pub mod seed;
pub mod server;
