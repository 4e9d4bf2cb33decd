//! The doors: two listeners, signatures, tokens, the WebSocket session actor, problem details, pages.
//!
//! Owns everything that knows HTTP and WebSockets, and the only place that knows status codes ([`problem`]). Knows no SQL.
//! Handlers run on the listeners' worker threads and never block; a session actor lives on the worker that accepted it.
//!
//! Start reading at [`router`], the index of endpoints.

mod admin;
mod batch;
mod body;
mod browser_api;
mod bulk;
mod client_messages;
mod connections;
mod dev;
mod entry_body;
mod files;
mod fragments;
mod frame_guard;
mod health;
mod internal_reads;
mod metrics;
mod openapi;
mod origin;
pub mod problem;
mod rate_limit;
mod request_counts;
pub mod router;
pub mod server;
mod session;
mod session_frames;
pub mod session_shared;
pub mod session_token;
mod sessions;
mod sign_in;
pub mod signature;
mod sockets;
mod state;
mod telegram;
mod upgrade;
mod webhooks;

#[cfg(feature = "simulation")]
#[doc(hidden)]
pub use entry_body::parse_body;
#[cfg(feature = "simulation")]
pub use session::start_over;
pub use state::HttpState;

#[cfg(test)]
mod tests;
