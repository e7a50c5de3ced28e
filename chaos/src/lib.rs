//! A real manager, real workers and real clients on loopback, killed, stopped and cut off from each other
//! by a plan that a seed stands for; and what must hold of everything that was acknowledged.

pub mod api;
pub mod check;
pub mod client;
pub mod clock;
pub mod error;
pub mod flood;
pub mod grid;
pub mod history;
pub mod manager;
pub mod plan;
pub mod process;
pub mod progress;
pub mod proxy;
pub mod remains;
pub mod report;
pub mod storm;
pub mod tamper;
pub mod work;
