//! The manager: the queue, the ledger, the sessions of workers and the dashboard, as a library that
//! the daemon and the simulator share.

pub mod admin;
pub mod archive;
pub mod backup;
pub mod beginning;
pub mod blobs;
pub mod books;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod disk;
pub mod engine;
pub mod fleet;
pub mod health;
pub mod inspect;
pub mod live;
pub mod notify;
pub mod owner;
pub mod readers;
pub mod store;
pub mod sweep;
pub mod vitals;
pub mod vouchers;
pub mod web;
