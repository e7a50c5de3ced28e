//! Runs one task confined; knows nothing of managers, sockets or money.
//!
//! The worker asks [`sandbox::Sandbox::probe`] what holds on this machine, then gives plans to
//! [`sandbox::Sandbox::run`]. Each task has a small single-threaded process of our own above it,
//! [`helper::helper_main`], that makes its room, starts its steps and reaps them.

pub mod calls;
pub mod capture;
mod cgroup;
pub mod checkpoint;
pub mod clock;
mod collect;
pub mod control;
pub mod cpus;
pub mod helper;
mod keeper;
mod lane;
mod order;
mod pattern;
pub mod plan;
mod probe;
mod restore;
pub mod sandbox;
mod saving;
pub mod scope;
pub mod stat;
pub mod stillness;
mod stopper;
mod supervise;
pub mod users;
pub mod walk;
