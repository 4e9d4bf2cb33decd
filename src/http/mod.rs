//! HTTP and WebSockets: two listeners, and a folder for each group of endpoints.
//!
//! Owns all HTTP and WebSocket code; only [`problem`] knows status codes. Uses no SQL. Handlers run on the listeners' worker
//! threads and never block. A session actor lives on the worker that accepted its connection.
//!
//! The groups are `entries` (webhooks), `users` (balances, histories, tokens), `session` (WebSockets) and `admin`. They do not
//! import each other, except that `admin` uses `users`. `extract` holds the types in their handlers' signatures.
//!
//! Start reading at [`router`], the index of endpoints.

mod admin;
mod connection;
mod counting;
mod dev;
mod entries;
mod extract;
mod files;
mod following;
mod head;
mod openapi;
mod origin;
mod probes;
pub mod problem;
pub mod router;
pub mod server;
pub mod session;
mod state;
mod users;

pub use admin::keep_history;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub use entries::body::parse_body;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub use entries::items::parse_items;
#[cfg(feature = "simulation")]
pub use session::start_over;
pub use state::{Dev, HttpState};

#[cfg(test)]
mod tests;
