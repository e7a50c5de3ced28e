//! The daemon that runs other people's tasks in a sandbox on a shared laptop, room by room.

pub mod agent;
pub mod backoff;
mod bulk;
pub mod clock;
pub mod config;
pub mod connection;
pub mod daemon;
mod disk;
pub mod doctor;
mod enrol;
pub mod environment;
pub mod error;
pub mod features;
pub mod gpu;
mod hello;
pub mod identity;
pub mod image;
pub mod install;
pub mod probe;
mod renewal;
pub mod run;
pub mod spool;
pub mod stop;
pub mod token;
mod trial;
mod walls;
