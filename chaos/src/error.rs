//! What can keep a storm or a flood from being run at all; what it finds is no error.

use std::path::PathBuf;

use crate::api::ApiError;

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    #[error("failed to make or remove {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("failed to start {what}")]
    Start { what: String, source: std::io::Error },
    #[error("{what} failed: {said}")]
    Command { what: &'static str, said: String },
    #[error("failed to signal {what}")]
    Signal { what: String, source: nix::Error },
    #[error("{what} ended before it said {sought:?}:\n{tail}")]
    Ended { what: String, sought: String, tail: String },
    #[error("{what} did not say {sought:?} in {limit_s} s:\n{tail}")]
    Silent { what: String, sought: String, limit_s: u64, tail: String },
    #[error("failed to serve a proxy")]
    Proxy { source: std::io::Error },
    #[error("failed to start a runtime")]
    Runtime { source: std::io::Error },
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("failed to use the journal {}", path.display())]
    Journal { path: PathBuf, source: std::io::Error },
    #[error("line {line} of the journal {} is damaged", path.display())]
    JournalLine { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{what} did not come about in {limit_s} s: {found}")]
    Patience { what: &'static str, limit_s: u64, found: String },
    #[error("{needed} open files are needed, and {hard} are allowed: raise the limit (ulimit -Hn)")]
    Files { needed: u64, hard: u64 },
    #[error("no sandbox works on this machine, so workers take no tasks")]
    NoSandbox,
    #[error("failed to look at the processes of this machine")]
    Processes { source: std::io::Error },
}
