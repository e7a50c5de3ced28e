//! The client under the `campusgrid` command: what it says to a manager, and what it shows people.

pub mod arguments;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod error;
pub mod fields;
pub mod interrupt;
pub mod job;
mod prompt;
pub mod screen;
pub mod session;
pub mod transfer;
pub mod units;
pub mod wait;
pub mod week;
