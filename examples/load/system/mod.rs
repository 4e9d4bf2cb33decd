//! The service as a process, its database, and the kernel's figures about it.

pub mod database;
pub mod proc;
pub mod service;
pub mod ticker;
