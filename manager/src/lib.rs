//! The manager: the queue, the ledger, the sessions of workers and the dashboard, as a library that
//! the daemon and the simulator share.

pub mod blobs;
pub mod clock;
pub mod config;
pub mod engine;
pub mod fleet;
pub mod live;
pub mod readers;
pub mod store;
pub mod web;
