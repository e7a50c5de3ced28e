//! The grid as a pure state machine: inputs in, effects out; no I/O, no clock, no randomness.

mod deadlines;
pub mod durable;
pub mod effect;
mod explain;
pub mod gpus;
pub mod grid;
pub mod input;
pub mod job;
pub mod ledger;
pub mod money;
pub mod offer;
mod on_job;
mod on_locked;
mod on_user;
mod on_worker;
pub mod policy;
pub mod pricing;
mod schedule;
mod settle;
pub mod snapshot;
pub mod time;
pub mod user;
mod why;
pub mod worker;

#[cfg(test)]
mod tests;
