//! The coordinator: one registry, one balance actor per user, and when their sessions are told what.
//!
//! Owns the cache, the pacing and the order of each user's changes. Knows nothing of SQL, HTTP and WebSockets: it speaks
//! to a [`crate::ledger::Ledger`] and to session outboxes. Everything here runs on one arbiter thread, so that a message
//! crosses threads once on its way in and once on its way out.
//!
//! Start reading at [`messages`], the whole internal protocol on one page.

mod account_cache;
mod administration;
pub mod auditing;
mod balance_actor;
mod displayed;
mod frames;
mod inspection;
mod live;
pub mod messages;
pub mod pacing;
mod posting;
mod pushing;
mod reading;
mod recent;
mod registry;
mod shared;

pub use balance_actor::BalanceActor;
pub use frames::{BalanceView, Shown};
pub use inspection::{ActorInspection, ActorSummary, RegistryTotals, SessionInspection};
pub use recent::{Recent, RecentEvents, RecentQuery};
pub use registry::Registry;
pub use shared::{Policy, Shared};

#[cfg(test)]
mod tests;
