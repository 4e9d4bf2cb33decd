//! The service as a process, its database, and what the kernel tells of it.

pub mod database;
pub mod proc;
pub mod service;
pub mod ticker;
