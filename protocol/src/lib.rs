//! What crosses the wire between manager, workers and clients; no sockets, no files, no clock.

pub mod compiler_flag;
pub mod frame;
pub mod hello;
pub mod id;
pub mod lock;
pub mod message;
pub mod python;
pub mod requirement;
pub mod resource;
pub mod rest;
#[cfg(test)]
mod samples;
pub mod task;
pub mod text;
pub mod v2;
