//! A job as it is put together on this machine: what is to be run, on what terms, with which files.

pub mod directives;
pub mod files;
pub mod flags;
pub mod plan;
