//! Tasks in containers of a real engine, which the tests start themselves where they may.
#![expect(clippy::unwrap_used, reason = "all of this is test code, though not in test functions")]

mod builder;
mod endings;
mod engine;
mod freezing;
mod hostile;
mod inputs;
mod limits;
mod podman;
mod rig;
mod walls;
mod warm;
