//! The client's side: signed requests, sessions, and what they are told.

pub mod clock;
pub mod crowd;
pub mod entries;
pub mod follower;
pub mod frames;
pub mod http;
pub mod posting;
pub mod sessions;
pub mod signing;
pub mod told;
