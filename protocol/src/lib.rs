//! What crosses the wire between manager, workers and clients; no sockets, no files, no clock.

pub mod array;
pub mod compiler_flag;
pub mod frame;
pub mod hello;
pub mod id;
pub mod input;
pub mod lock;
pub mod message;
pub mod pattern;
pub mod python;
pub mod ranges;
pub mod requirement;
pub mod resource;
pub mod rest;
pub mod rules;
#[cfg(test)]
mod samples;
pub mod task;
pub mod terms;
pub mod text;
pub mod v4;
