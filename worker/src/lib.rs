//! The daemon that runs other people's tasks in a sandbox on a shared laptop, room by room.

pub mod agent;
mod backoff;
mod bulk;
pub mod clock;
pub mod config;
pub mod connection;
pub mod daemon;
pub mod doctor;
pub mod environment;
pub mod error;
pub mod features;
pub mod gpu;
mod hello;
mod identity;
pub mod image;
pub mod install;
pub mod probe;
pub mod run;
pub mod spool;
mod trial;
mod walls;
