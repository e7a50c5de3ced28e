//! The grid as a pure state machine: inputs in, effects out; no I/O, no clock, no randomness.

mod chain;
mod deadlines;
pub mod draft;
pub mod durable;
pub mod effect;
mod explain;
pub mod gpus;
pub mod grid;
pub mod input;
mod intake;
pub mod job;
pub mod ledger;
mod lineup;
pub mod losses;
pub mod money;
mod notices;
pub mod offer;
mod on_cancel;
mod on_draft;
mod on_enrol;
mod on_job;
mod on_locked;
mod on_request;
mod on_submit;
mod on_user;
mod on_voucher;
mod on_worker;
mod overdue;
mod pausing;
pub mod policy;
pub mod pricing;
mod queue;
mod returns;
mod schedule;
mod set_aside;
mod settle;
pub mod snapshot;
mod stalled;
mod suspicion;
pub mod time;
pub mod user;
pub mod voucher;
mod why;
pub mod worker;

#[cfg(test)]
mod tests;
