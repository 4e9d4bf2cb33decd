//! Random and damaged input, compared with readers that are written in another way.

mod entry_bodies;
mod messages;
mod small_bodies;
