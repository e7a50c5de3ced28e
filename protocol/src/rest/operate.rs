//! What machines ask to see whether the manager is well.

use serde::{Deserialize, Serialize};

/// `GET /health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `degraded` for the reasons given.
    pub status: String,
    /// Whether the data directory can be written.
    pub jobs_dir: bool,
    pub version: String,
    /// What is wrong, in words; empty if nothing is.
    pub reasons: Vec<String>,
}

/// `GET /jobs/count`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobsCount {
    pub num_jobs: u64,
}
