//! Random and damaged input, compared with readers that are written in another way; and how sessions end.

mod endings;
mod entry_bodies;
mod messages;
mod small_bodies;
