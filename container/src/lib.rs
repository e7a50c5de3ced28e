//! Runs one task in a container of Docker or Podman; knows nothing of managers or money.
//!
//! It takes the plans of [`campusgrid_sandbox::plan`] and yields the same reports. In each container
//! a small process of our own, [`helper::helper_main`], is the first one: it starts the steps, reaps
//! them, and sends what they print and leave over the container's streams.

mod berth;
mod builder;
mod channel;
mod clock;
mod connect;
pub mod debootstrap;
pub mod engine;
pub mod error;
pub mod event;
pub mod helper;
pub mod image;
mod kit;
mod loss;
mod pool;
mod refusal;
mod report;
mod roster;
mod saving;
mod seccomp;
mod slots;
mod supervise;
mod trial;
pub mod unpack;
mod walls;
pub mod wire;
