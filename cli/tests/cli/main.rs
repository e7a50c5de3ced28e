//! The real `campusgrid` against a real manager and, where tasks are to run, a real worker.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod accounts;
mod arrays;
mod files;
mod jobs;
mod market;
mod rig;
