//! Random and damaged input, compared with readers that are written in another way; how sessions end; and orders.

mod endings;
mod entry_bodies;
mod messages;
mod orders;
mod small_bodies;
