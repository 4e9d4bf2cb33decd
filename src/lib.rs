//! The map.
//!
//! `balance-coordinator` is the one place through which every balance change of an application goes: from a signed
//! webhook, through a durable ledger, to the user's open browser tabs.
//!
//! # The way of a deposit
//!
//! ```text
//! webhook ─► http::entries ─► coordinator::Registry ─► BalanceActor(184) ─► ledger::writer ─► SQLite / PostgreSQL
//!                  ▲                                      │           ▲  after the commit
//!                  └────────────── 200 ───────────────────┤           └──────────┘
//!                                                         ├─ cached balance, version
//!                                                         ├─ pacing: now, or summed up a little later
//!                                                         └─► http::session ─► browser
//! ```
//!
//! # The parts
//!
//! | part | owns |
//! | --- | --- |
//! | [`domain`] | ids, money, entries, the pure posting rule |
//! | [`ledger`] | tables, group-commit writers, reads, audit |
//! | [`coordinator`] | registry, balance actors, cache, pacing |
//! | [`cluster`] | other nodes of the same ledger: commits out, commits in (NATS) |
//! | [`credentials`] | webhook signatures, session tokens, Telegram's init data |
//! | [`http`] | listeners, webhooks, reads, WebSocket sessions, administration |
//! | [`canary`] | the controlled test of a running service |
//! | [`platform`] | what depends on the operating system |
//! | [`diagnosis`] | one report on a running service, its settings and its log |
//! | [`migration`] | entries and balances of another system, and how they differ |
//! | [`watcher`] | the TON watcher: deposits on chain become signed webhooks |
//! | [`dev_chain`] | an imitated chain for development |
//! | [`app`] | composing, starting and stopping in order |
//! | [`cli`] | one file per command |
//! | [`config`], [`limits`], [`clock`], [`client`], [`telemetry`] | settings, caps, time, log and counters |
//!
//! Imports go one way: `domain ← config ← credentials` and `domain ← ledger ← coordinator ← cluster ← http ← app ←
//! cli`; a test enforces it.

pub mod app;
pub mod canary;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod coordinator;
pub mod credentials;
pub mod dev_chain;
pub mod diagnosis;
pub mod domain;
pub mod http;
pub mod ledger;
pub mod limits;
pub mod migration;
pub mod planted;
pub mod platform;
pub mod telemetry;
pub mod watcher;

#[cfg(test)]
mod tests;
