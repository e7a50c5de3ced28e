//! Runs one task confined; knows nothing of managers, sockets or money.
//!
//! The worker asks [`sandbox::Sandbox::probe`] what holds on this machine, then gives plans to
//! [`sandbox::Sandbox::run`]. Each task has a small single-threaded process of our own above it,
//! [`helper::helper_main`], that makes its room, starts its steps and reaps them.

pub mod calls;
pub mod capture;
mod cgroup;
pub mod clock;
mod collect;
pub mod cpus;
pub mod helper;
mod keeper;
mod lane;
mod order;
mod pattern;
pub mod plan;
mod probe;
pub mod sandbox;
pub mod scope;
pub mod stat;
mod supervise;
pub mod users;
pub mod walk;
