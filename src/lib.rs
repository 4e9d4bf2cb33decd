//! The map.
//!
//! `balance-coordinator` is the one place through which every balance change of an application goes, from a signed
//! webhook through a durable ledger to the user's open browser tabs.

pub mod domain;
