//! What comes through the doors, random and spoiled, beside readers that were written another way.

mod entry_bodies;
mod messages;
mod small_bodies;
