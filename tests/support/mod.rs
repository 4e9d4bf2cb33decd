//! Shared by the black-box tests: the program as a child process, its databases, and its clients.
//!
//! Nothing here uses the library under test: signatures, tokens and hashes are made independently.
//! Start reading at [`TestApp`]. Each test binary uses a part of this module.
#![allow(dead_code, unused_imports, unused_macros)]

mod answer;
mod app;
mod bus_proxy;
mod certificates;
pub mod chain;
mod client;
mod cluster;
mod database;
mod log_reader;
mod nats;
mod pooler;
mod process;
mod proxy;
mod raw;
mod relay;
mod reverse_proxy;
mod scrape;
mod seeds;
mod signing;
mod silent;
mod sources;
mod telegram;
mod tls;
mod ton;
pub mod toncenter;
mod visitor;
mod witness;
mod ws;

pub use answer::Answer;
pub use app::{ADMIN_TOKEN, Builder, SESSION_SECRET, TestApp, WEBHOOK_SECRET};
pub use bus_proxy::{BusProxy, MessageFault};
pub use certificates::Authority;
pub use client::{Sender, Signed};
pub use cluster::{Cluster, children_of};
pub use database::{Database, HeldLock, StoredEntry, TestDatabase};
pub use log_reader::LogReader;
pub use nats::Nats;
pub use pooler::Pooler;
pub use process::{Process, run_program};
pub use proxy::{CommitFault, Mode, Proxy};
pub use raw::{Raw, RawAnswer, RawFrame, frame, upgrade_request};
pub use relay::{Passes, Relay};
pub use reverse_proxy::{Example, ProxyKind, ReverseProxy};
pub use scrape::Scrape;
pub use seeds::{Dice, dice_of, fresh_seed, size};
pub use signing::{claims, mint, now_s, sign, token};
pub use silent::SilentPeer;
pub use sources::{Source, sources};
pub use telegram::{BOT_TOKEN, InitData};
pub use tls::TlsTunnel;
pub use ton::TonHash;
pub use visitor::Visitor;
pub use witness::Witness;
pub use ws::{Event, Ws};

/// The longest wait for an expected event.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Makes `sqlite::name` and `postgres::name` of each `async fn name(database: Database)`.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Database::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::support::Database::has_postgres() {
                    super::$name(crate::support::Database::Postgres).await;
                }
            })+
        }
    };
}

/// Makes tests on SQLite only, for behaviour independent of the database.
macro_rules! on_sqlite {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Database::Sqlite).await;
            })+
        }
    };
}

/// Makes tests on PostgreSQL only, for outages of a database server.
macro_rules! on_postgres {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::support::Database::has_postgres() {
                    super::$name(crate::support::Database::Postgres).await;
                }
            })+
        }
    };
}

pub(crate) use {on_both_databases, on_postgres, on_sqlite};

/// Waits until `done` gives something, asking every few milliseconds and for a bounded time.
///
/// # Panics
/// When it does not happen in time.
pub async fn eventually<T>(what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(value) = done().await {
            return value;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{what}: not within {PATIENCE:?}");
}
