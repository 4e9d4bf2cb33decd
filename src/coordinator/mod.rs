//! The coordinator: one registry, and one balance actor per user, which decides when sessions are sent what.
//!
//! Owns the cache, the pacing and the order of each user's changes. Knows nothing of SQL, HTTP and WebSockets, only a
//! [`crate::ledger::Ledger`] and session outboxes. Everything here runs on one arbiter thread, so a message crosses threads
//! once on its way in and once on its way out.
//!
//! Start reading at [`messages`], the whole internal protocol on one page.

mod actor;
pub mod auditing;
mod coverage;
mod frames;
pub mod heard;
mod journal;
pub mod messages;
pub mod pacing;
mod policy;
mod registry;
mod to_session;
mod views;

pub use actor::BalanceActor;
pub use coverage::Coverage;
pub use frames::{BalanceView, Shown};
pub use journal::{EventKind, Recent, RecentEvents};
pub use policy::{Checks, Policy, Shared};
pub use registry::Registry;
pub use views::{ActorInspection, ActorSummary, RegistryTotals, SessionInspection};

#[cfg(test)]
mod tests;
