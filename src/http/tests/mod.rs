//! What comes through the doors, random and spoiled, beside readers that were written another way.

mod entry_bodies;
mod messages;
mod signatures;
mod small_bodies;
mod tokens;
